/* Runs a program on an emulated AVR until it sleeps with interrupts off; UART 0 is stdin and stdout.

   simavr_host CHIP PROGRAM.elf [PIN]

   With a pin, such as B5, each change of it is a line on stdout: cycles since the start, and its level.
   The exit status is what the program left in GPIOR0, or 99 where it crashed. A write to GPIOR1 notes how many cycles have gone by,
   in 32 bits; each read of it gives one byte of them, the lowest first. */
#include <poll.h>
#include <simavr/avr_ioport.h>
#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { GPIOR0 = 0x3E, GPIOR1 = 0x4A }; /* in data space, of all chips that CORES knows */
enum { CYCLES_BETWEEN_LOOKS = 2000, FREQUENCY_HZ = 16000000 };
static uint32_t noted;
static int listening;

static void note(avr_t *avr, avr_io_addr_t address, uint8_t value, void *unused) {
  (void)address, (void)value, (void)unused;
  noted = (uint32_t)avr->cycle;
}
static uint8_t tell(avr_t *avr, avr_io_addr_t address, void *unused) {
  (void)avr, (void)address, (void)unused;
  const uint8_t lowest = (uint8_t)noted;
  noted >>= 8;
  return lowest;
}
static void put(struct avr_irq_t *irq, uint32_t byte, void *unused) {
  (void)irq, (void)unused;
  (void)putchar((int)byte);
}
static void listen(struct avr_irq_t *irq, uint32_t value, void *now) {
  (void)irq, (void)value;
  listening = now != NULL;
}
static void tell_level(struct avr_irq_t *irq, uint32_t level, void *avr) {
  if (level != irq->value) (void)printf("%llu %u\n", (unsigned long long)((avr_t *)avr)->cycle, level);
}
static void sleep_no_time(avr_t *avr, avr_cycle_count_t cycles) { (void)avr, (void)cycles; }
static void complain(avr_t *avr, const int level, const char *format, va_list values) {
  (void)avr;
  if (level <= LOG_ERROR) (void)vfprintf(stderr, format, values);
}

static avr_t *made(const char *chip, const char *program) {
  static elf_firmware_t firmware;
  avr_t *avr = avr_make_mcu_by_name(chip);
  avr_global_logger_set(complain);
  if (!avr || elf_read_firmware(program, &firmware)) {
    (void)fprintf(stderr, "no %s here, or no program in %s\n", chip, program);
    exit(2);
  }
  (void)avr_init(avr);
  avr->log = LOG_ERROR;
  avr_load_firmware(avr, &firmware);
  avr->frequency = FREQUENCY_HZ;
  avr->sleep = sleep_no_time;
  avr_register_io_write(avr, GPIOR1, note, NULL);
  avr_register_io_read(avr, GPIOR1, tell, NULL);
  return avr;
}

static avr_irq_t *connected_uart(avr_t *avr) {
  uint32_t no_flags = 0; /* neither log lines nor sleep of ours where the chip polls */
  (void)avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &no_flags);
  avr_irq_t *uart = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), 0);
  avr_irq_register_notify(uart + UART_IRQ_OUTPUT, put, NULL);
  avr_irq_register_notify(uart + UART_IRQ_OUT_XON, listen, uart);
  avr_irq_register_notify(uart + UART_IRQ_OUT_XOFF, listen, NULL);
  return uart;
}

int main(int count, char **arguments) {
  if (count < 3 || count > 4) return 2;
  avr_t *avr = made(arguments[1], arguments[2]);
  if (count == 4) {
    const char *pin = arguments[3];
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ(pin[0]), pin[1] - '0'), tell_level, avr);
  }
  avr_irq_t *uart = connected_uart(avr);
  struct pollfd input = {STDIN_FILENO, POLLIN, 0};
  uint8_t bytes[256];
  ssize_t at = 0, end = 0;
  avr_cycle_count_t look = 0;
  for (int state = cpu_Running; state != cpu_Done && state != cpu_Crashed; state = avr_run(avr)) {
    if (avr->cycle < look) continue;
    look = avr->cycle + CYCLES_BETWEEN_LOOKS;
    (void)fflush(stdout);
    if (at == end && input.fd >= 0 && poll(&input, 1, 0) > 0) {
      at = 0;
      end = read(STDIN_FILENO, bytes, sizeof bytes);
      if (end <= 0) end = 0, input.fd = -1;
    }
    while (listening && at != end) avr_raise_irq(uart + UART_IRQ_INPUT, bytes[at++]);
  }
  (void)fflush(stdout);
  return avr->state == cpu_Crashed ? 99 : avr->data[GPIOR0];
}
