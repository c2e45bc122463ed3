/*
 * Numbers of the Bluetooth Core Specification (Vol 4 Part A: H4 transport; Part E: HCI) that the host and the virtual
 * controller use. Constants only; written from the specification, so that proto/ needs no Bluetooth library.
 */
#ifndef MP_HCI_DEFS_H
#define MP_HCI_DEFS_H

/* H4 packet indicators and sizes (bytes, indicator included) */
#define HCI_H4_COMMAND 0x01
#define HCI_H4_ACL 0x02
#define HCI_H4_SCO 0x03
#define HCI_H4_EVENT 0x04
#define HCI_H4_ISO 0x05
#define HCI_COMMAND_HEADER 4 /* indicator, opcode u16, parameter length u8 */
#define HCI_EVENT_HEADER 3   /* indicator, event code u8, parameter length u8 */
#define HCI_PARAMETERS_MAX 255
#define HCI_COMMAND_MAX (HCI_COMMAND_HEADER + HCI_PARAMETERS_MAX)
#define HCI_EVENT_MAX (HCI_EVENT_HEADER + HCI_PARAMETERS_MAX)

/* Opcodes: group << 10 | command */
#define HCI_NOP 0x0000
#define HCI_SET_EVENT_MASK 0x0C01
#define HCI_RESET 0x0C03
#define HCI_READ_LOCAL_VERSION 0x1001
#define HCI_READ_LOCAL_COMMANDS 0x1002
#define HCI_READ_LOCAL_FEATURES 0x1003
#define HCI_READ_BUFFER_SIZE 0x1005
#define HCI_READ_BD_ADDR 0x1009
#define HCI_LE_SET_EVENT_MASK 0x2001
#define HCI_LE_READ_BUFFER_SIZE 0x2002
#define HCI_LE_READ_FEATURES 0x2003
#define HCI_LE_SET_RANDOM_ADDRESS 0x2005
#define HCI_LE_READ_STATES 0x201C
#define HCI_LE_SET_ADV_SET_ADDRESS 0x2035
#define HCI_LE_SET_EXT_ADV_PARAMS 0x2036
#define HCI_LE_SET_EXT_ADV_DATA 0x2037
#define HCI_LE_SET_EXT_ADV_ENABLE 0x2039
#define HCI_LE_READ_MAX_ADV_DATA 0x203A
#define HCI_LE_READ_ADV_SETS 0x203B
#define HCI_LE_REMOVE_ADV_SET 0x203C
#define HCI_LE_CLEAR_ADV_SETS 0x203D
#define HCI_LE_SET_EXT_SCAN_PARAMS 0x2041
#define HCI_LE_SET_EXT_SCAN_ENABLE 0x2042
#define HCI_VENDOR_LOG 0xFC01 /* the live air's only: 1 to 255 bytes of text for its log, see sim/air/controller.h */

/* Event codes */
#define HCI_EVENT_COMMAND_COMPLETE 0x0E
#define HCI_EVENT_COMMAND_STATUS 0x0F
#define HCI_EVENT_HARDWARE_ERROR 0x10
#define HCI_EVENT_LE_META 0x3E
#define HCI_EVENT_VENDOR 0xFF
#define HCI_LE_EXT_ADV_REPORT 0x0D
#define HCI_LE_ADV_SET_TERMINATED 0x12

/* Bits of Set Event Mask and LE Set Event Mask */
#define HCI_MASK_HARDWARE_ERROR (1ull << 15)
#define HCI_MASK_LE_META (1ull << 61)
#define HCI_LE_MASK_EXT_ADV_REPORT (1ull << (HCI_LE_EXT_ADV_REPORT - 1))
#define HCI_LE_MASK_ADV_SET_TERMINATED (1ull << (HCI_LE_ADV_SET_TERMINATED - 1))

/* LE features, bit numbers */
#define HCI_LE_FEATURE_2M 8
#define HCI_LE_FEATURE_CODED 11
#define HCI_LE_FEATURE_EXT_ADV 12

/* Error codes */
#define HCI_OK 0x00
#define HCI_UNKNOWN_COMMAND 0x01
#define HCI_MEMORY_EXCEEDED 0x07
#define HCI_DISALLOWED 0x0C
#define HCI_UNSUPPORTED 0x11
#define HCI_INVALID_PARAMETERS 0x12
#define HCI_ADV_TIMEOUT 0x3C
#define HCI_UNKNOWN_ADV_SET 0x42
#define HCI_LIMIT_REACHED 0x43
#define HCI_PACKET_TOO_LONG 0x45

/* PHYs as advertising parameters and reports number them; as bits of the scan parameters */
#define HCI_PHY_1M 1
#define HCI_PHY_2M 2
#define HCI_PHY_CODED 3
#define HCI_PHY_BIT_1M 0x01
#define HCI_PHY_BIT_CODED 0x04

/* LE Set Extended Advertising Data: operation */
#define HCI_ADV_DATA_MIDDLE 0
#define HCI_ADV_DATA_FIRST 1
#define HCI_ADV_DATA_LAST 2
#define HCI_ADV_DATA_COMPLETE 3
#define HCI_ADV_DATA_UNCHANGED 4

/* Extended advertising report: a report's fixed part, the longest data of a single report in one event, event type bits
 */
#define HCI_REPORT_HEADER 24
#define HCI_REPORT_DATA_MAX (HCI_PARAMETERS_MAX - 2 - HCI_REPORT_HEADER)
#define HCI_REPORT_SCAN_RESPONSE 0x0008
#define HCI_REPORT_LEGACY 0x0010
#define HCI_REPORT_STATUS_MASK 0x0060 /* 0 complete, 0x20 more to come, 0x40 truncated */

#define HCI_OWN_ADDRESS_RANDOM 1
#define HCI_TX_POWER_NO_PREFERENCE 127
#define HCI_AD_MANUFACTURER 0xFF

#endif
