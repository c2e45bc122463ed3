#include "start.h"

#include "part.h"

/* From the linker script. */
extern uint32_t nrf51_data_from[], nrf51_data[], nrf51_data_end[], nrf51_bss[], nrf51_bss_end[];

_Noreturn void nrf51_start(void)
{
    const uint32_t *from = nrf51_data_from;
    for (uint32_t *to = nrf51_data; (uintptr_t)to < (uintptr_t)nrf51_data_end;)
        *to++ = *from++;
    for (uint32_t *to = nrf51_bss; (uintptr_t)to < (uintptr_t)nrf51_bss_end;)
        *to++ = 0;
    nrf51_stack_paint();
    main();
    nrf51_reset(BOOT_CAUSE_CRASH);
}
