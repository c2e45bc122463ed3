/*
 * The line to the controller: an interrupt-driven UART with RTS and CTS.
 *
 * Received bytes go into a ring. When that is full, the receive interrupt is turned off: the UART's own FIFO fills, and
 * its RTS stops the controller, until the loop has read. What a driver reports as an error (overrun, framing, break)
 * empties the ring and is told to the loop once.
 */
#include <zephyr/device.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/ring_buffer.h>

#include "node-fw/port/port.h"
#include "port_zephyr.h"

#define UART_NODE DT_CHOSEN(meshfw_hci_uart)
BUILD_ASSERT(DT_PROP(UART_NODE, hw_flow_control), "the line needs flow control: hw-flow-control");

#define TAKES_NOTHING K_MSEC(100)
enum { PIECE = 32, RING = 512 };

static const struct device *const uart = DEVICE_DT_GET(UART_NODE);
RING_BUF_DECLARE(ring, RING);
static K_SEM_DEFINE(progress, 0, 1);

/* Shared with the interrupt. */
static volatile bool lost, held_back;
static const uint8_t *volatile to_send;
static volatile size_t left;

static void receive(void)
{
    uint8_t piece[PIECE];

    while (uart_irq_rx_ready(uart) > 0) {
        const uint32_t room = ring_buf_space_get(&ring);

        if (room == 0) {
            held_back = true;
            uart_irq_rx_disable(uart);
            return;
        }
        const int n = uart_fifo_read(uart, piece, (int)MIN(room, sizeof piece));
        if (n <= 0)
            return;
        ring_buf_put(&ring, piece, (uint32_t)n);
    }
}

static void transmit(void)
{
    const int n = left > 0 ? uart_fifo_fill(uart, to_send, (int)left) : 0;

    if (n > 0) {
        to_send += n;
        left -= (size_t)n;
        k_sem_give(&progress);
    }
    if (left == 0)
        uart_irq_tx_disable(uart);
}

static void on_interrupt(const struct device *dev, void *user_data)
{
    ARG_UNUSED(user_data);
    uart_irq_update(dev);
    if (uart_err_check(dev) > 0)
        lost = true;
    receive();
    if (uart_irq_tx_ready(dev) > 0)
        transmit();
    nf_zephyr_wake();
}

int nf_zephyr_uart_start(void)
{
    if (!device_is_ready(uart) || uart_irq_callback_user_data_set(uart, on_interrupt, NULL) != 0)
        return MP_ERR_STATE;
    uart_irq_rx_enable(uart);
    uart_irq_err_enable(uart);
    return 0;
}

bool nf_zephyr_uart_has_input(void)
{
    return lost || !ring_buf_is_empty(&ring);
}

bool nf_port_link_is_up(void)
{
    return true; /* the wires do not tell whether a controller is there */
}

static void go_on(void)
{
    if (held_back) {
        held_back = false;
        uart_irq_rx_enable(uart);
    }
}

int nf_port_link_read(uint8_t *buf, size_t cap)
{
    if (lost) {
        const unsigned int key = irq_lock();
        ring_buf_reset(&ring);
        lost = false;
        irq_unlock(key);
        go_on();
        return MP_ERR_ABSENT;
    }
    const uint32_t n = ring_buf_get(&ring, buf, (uint32_t)cap);
    if (n > 0)
        go_on();
    return (int)n;
}

int nf_port_link_write(const uint8_t *data, size_t len)
{
    k_sem_reset(&progress);
    to_send = data;
    left = len;
    uart_irq_tx_enable(uart);
    while (left > 0) {
        if (k_sem_take(&progress, TAKES_NOTHING) == 0)
            continue;
        uart_irq_tx_disable(uart);
        left = 0; /* the caller's buffer goes */
        return MP_ERR_ABSENT;
    }
    return 0;
}
