/*
 * The line to the controller. Bytes that come are taken in by interrupt into a ring; when it is full the interrupt is
 * turned off and the bytes stay in the part's six-byte FIFO, which then holds the controller off by RTS. So nothing is
 * lost as long as the controller obeys; if it does not, the part reports an overrun.
 *
 * One reader, one writer (the interrupt): the indices run freely and are each written by one side alone.
 */
#include "part.h"

#include "board.h"

#define RING 256u              /* a power of two */
#define TX_PATIENCE MP_MS(100) /* for a byte */
#define TX_WHOLE MP_MS(1000)   /* for all of a write: a line that only trickles is no line either */

static uint8_t ring[RING];
static volatile uint16_t head;    /* next to write: interrupt */
static volatile uint16_t tail;    /* next to read: reader */
static volatile uint16_t lost_at; /* head when bytes were lost */
static volatile bool lost;
static volatile bool held; /* the interrupt is off since the ring is full */
static bool sending;       /* TXD holds a byte that has not left */

static void output_pin(unsigned pin)
{
    NRF51_GPIO_OUTSET = 1u << pin;
    NRF51_GPIO_DIRSET = 1u << pin;
}

void nrf51_uart_start(void)
{
    head = tail = 0;
    lost = held = sending = false;
    output_pin(NRF51_PIN_RTS);
    output_pin(NRF51_PIN_TXD);
    /* Pulled up, an open line idles and an absent controller takes nothing. */
    NRF51_GPIO_PIN_CNF(NRF51_PIN_RXD) = NRF51_GPIO_PIN_CNF_INPUT | NRF51_GPIO_PIN_CNF_PULLUP;
    NRF51_GPIO_PIN_CNF(NRF51_PIN_CTS) = NRF51_GPIO_PIN_CNF_INPUT | NRF51_GPIO_PIN_CNF_PULLUP;
    NRF51_UART_PSELRTS = NRF51_PIN_RTS;
    NRF51_UART_PSELTXD = NRF51_PIN_TXD;
    NRF51_UART_PSELCTS = NRF51_PIN_CTS;
    NRF51_UART_PSELRXD = NRF51_PIN_RXD;
    NRF51_UART_BAUDRATE = NRF51_UART_BAUDRATE_1M;
    NRF51_UART_CONFIG = NRF51_UART_CONFIG_HWFC;
    NRF51_UART_ENABLE = NRF51_UART_ENABLE_ON;
    NRF51_UART_RXDRDY = 0;
    NRF51_UART_TXDRDY = 0;
    NRF51_UART_ERROR = 0;
    NRF51_UART_INTENSET = NRF51_UART_INT_RXDRDY | NRF51_UART_INT_ERROR;
    NRF51_UART_STARTTX = 1;
    NRF51_UART_STARTRX = 1;
}

void nrf51_uart_irq(void)
{
    if (NRF51_UART_ERROR != 0) {
        NRF51_UART_ERROR = 0;
        NRF51_UART_ERRORSRC = NRF51_UART_ERRORSRC; /* overrun, framing, break: cleared by writing ones */
        lost_at = head;
        lost = true;
    }
    while (NRF51_UART_RXDRDY != 0) {
        if ((uint16_t)(head - tail) >= RING) {
            held = true;
            NRF51_UART_INTENCLR = NRF51_UART_INT_RXDRDY;
            return;
        }
        NRF51_UART_RXDRDY = 0; /* first: reading raises it again when there is more */
        ring[head % RING] = (uint8_t)NRF51_UART_RXD;
        head++;
    }
}

bool nrf51_uart_has_input(void)
{
    return lost || head != tail;
}

/* True once when bytes were lost: what came before is dropped. */
static bool take_loss(void)
{
    if (!lost)
        return false;
    /* In this order: bytes that are lost between the two are dropped now or reported next. */
    lost = false;
    tail = lost_at;
    return true;
}

int nrf51_uart_read(uint8_t *buf, size_t cap)
{
    /* Before the question whether bytes were lost: what came behind a loss is not read together with what came before. */
    const uint16_t end = head;
    const bool was_lost = take_loss();
    size_t n = 0;
    while (!was_lost && n < cap && tail != end) {
        buf[n++] = ring[tail % RING];
        tail++;
    }
    if (held && (uint16_t)(head - tail) < RING) {
        held = false;
        NRF51_UART_INTENSET = NRF51_UART_INT_RXDRDY;
    }
    return was_lost ? MP_ERR_ABSENT : (int)n;
}

/* Waits until TXD is free, at most until `end`. False: the other side takes nothing, or too slowly. */
static bool has_left(mp_time end)
{
    if (!sending)
        return true;
    if (NRF51_UART_TXDRDY == 0) {
        const mp_time patience = nrf51_clock_now() + TX_PATIENCE, until = patience < end ? patience : end;
        while (NRF51_UART_TXDRDY == 0)
            if (nrf51_clock_now() >= until && NRF51_UART_TXDRDY == 0)
                return false;
    }
    NRF51_UART_TXDRDY = 0;
    sending = false;
    return true;
}

int nrf51_uart_write(const uint8_t *data, size_t len)
{
    const mp_time end = nrf51_clock_now() + TX_WHOLE;
    for (size_t i = 0; i < len; i++) {
        if (!has_left(end))
            return MP_ERR_ABSENT;
        sending = true;
        NRF51_UART_TXD = data[i];
    }
    return has_left(end) ? 0 : MP_ERR_ABSENT;
}
