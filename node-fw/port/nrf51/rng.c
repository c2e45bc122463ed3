/*
 * Random numbers from the part's thermal noise source with its bias correction, about 0.7 ms a byte. A small pool is
 * filled by interrupt, so that a draw seldom waits; the source is stopped while the pool is full.
 */
#include "part.h"

#define POOL 16u /* a power of two */
/* With the correction there is no bound; and where the part is emulated, its source may rest while its clock goes on. */
#define PATIENCE MP_SECONDS(4)

static uint8_t pool[POOL];
static volatile uint8_t filled, drawn; /* run freely */

void nrf51_rng_irq(void)
{
    NRF51_RNG_VALRDY = 0;
    if ((uint8_t)(filled - drawn) < POOL) {
        pool[filled % POOL] = (uint8_t)NRF51_RNG_VALUE;
        filled++;
    }
    if ((uint8_t)(filled - drawn) >= POOL)
        NRF51_RNG_STOP = 1;
}

/* The watchdog's timer ends it at the latest. */
static void sleep_while_empty(void)
{
    __asm__ volatile("cpsid i" ::: "memory"); /* an interrupt that comes now stays pending and ends the sleep */
    if (filled == drawn)
        __asm__ volatile("dsb\nwfi" ::: "memory");
    __asm__ volatile("cpsie i\nisb" ::: "memory");
}

/* One byte; false when none comes. */
static bool draw(uint8_t *byte)
{
    const mp_time until = nrf51_clock_now() + PATIENCE;
    while (filled == drawn) {
        if (nrf51_clock_now() >= until && filled == drawn)
            return false;
        sleep_while_empty();
    }
    *byte = pool[drawn % POOL];
    drawn++;
    return true;
}

static bool draw_word(uint32_t *word)
{
    *word = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint8_t byte;
        if (!draw(&byte))
            return false;
        *word = *word << 8 | byte;
    }
    NRF51_RNG_START = 1;
    return true;
}

int nrf51_rng_start(void)
{
    uint32_t word;
    filled = drawn = 0;
    NRF51_RNG_CONFIG = NRF51_RNG_CONFIG_DERCEN;
    NRF51_RNG_VALRDY = 0;
    NRF51_RNG_INTENSET = NRF51_RNG_INT_VALRDY;
    nrf51_irq_enable(NRF51_IRQ_RNG, 3);
    NRF51_RNG_START = 1;
    return draw_word(&word) ? 0 : MP_ERR_STATE;
}

uint32_t nrf51_rng_draw(void)
{
    uint32_t word;
    if (!draw_word(&word))
        nrf51_reset(BOOT_CAUSE_CRASH); /* without numbers nothing it says can be trusted to be new */
    return word;
}
