// A link with rate, delay, a finite queue and random loss: two TAP devices and a delay line each way.
//
// usage: link DEVICE_A DEVICE_B RATE_BPS DELAY_US QUEUE_BYTES LOSS_PPM SEED
//
// Makes both devices, prints "ready", and carries frames until SIGTERM; then prints what it did as one line of JSON. The caller
// moves the devices into network namespaces: a TAP device stays attached to its descriptor there. One loss setting serves both
// directions. The kernel's own netem would do the same, where it is built in.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_BYTES = 2048, QUEUE_FRAMES = 32768, READ_BURST = 32 };
static const int64_t SECOND_NS = 1000000000;

struct frame {
    int64_t due_ns;
    int length;
    uint8_t bytes[FRAME_BYTES];
};

// One direction. Frames leave the ring in arrival order; head and tail run freely and are reduced when used.
struct line {
    int from, to;
    struct frame *ring;
    uint64_t head, tail;
    int64_t idle_at_ns;             // when the transmitter has sent all it accepted
    uint64_t forwarded, lost, overflowed, refused;   // refused: the receiving device was not up
};

static int64_t rate_bps, delay_ns, queue_bytes;
static uint64_t loss_ppm, random_state;
static volatile sig_atomic_t stopping;

static void stop(int signal_number) { (void)signal_number; stopping = 1; }

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND_NS + t.tv_nsec;
}

static uint64_t next_random(void) {  // xorshift64* (Vigna 2016)
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1dULL;
}

static int open_tap(const char *name) {
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) fail("/dev/net/tun");
    struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI };
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(fd, TUNSETIFF, &request) < 0) fail(name);
    return fd;
}

static void accept_frames(struct line *line) {
    for (int i = 0; i < READ_BURST; i++) {
        struct frame *frame = &line->ring[line->tail % QUEUE_FRAMES];
        frame->length = read(line->from, frame->bytes, FRAME_BYTES);
        if (frame->length <= 0) return;
        int64_t now = now_ns(), start = line->idle_at_ns > now ? line->idle_at_ns : now;
        int64_t backlog_bytes = (start - now) * (rate_bps / 8) / SECOND_NS;
        if (next_random() % 1000000 < loss_ppm) {
            line->lost++;
        } else if (backlog_bytes + frame->length > queue_bytes || line->tail - line->head == QUEUE_FRAMES - 1) {
            line->overflowed++;
        } else {
            line->idle_at_ns = start + frame->length * 8 * SECOND_NS / rate_bps;
            frame->due_ns = line->idle_at_ns + delay_ns;
            line->tail++;
        }
    }
}

// Sends what is due. Returns when the next frame is due, INT64_MAX when there is none.
static int64_t deliver_frames(struct line *line) {
    for (; line->head != line->tail; line->head++) {
        struct frame *frame = &line->ring[line->head % QUEUE_FRAMES];
        if (frame->due_ns > now_ns()) return frame->due_ns;
        if (write(line->to, frame->bytes, frame->length) == frame->length) line->forwarded++;
        else line->refused++;
    }
    return INT64_MAX;
}

static void report(const char *name, const struct line *line, const char *separator) {
    printf("\"%s\":{\"forwarded\":%lu,\"lost\":%lu,\"queueOverflow\":%lu,\"refused\":%lu}%s", name, line->forwarded, line->lost,
           line->overflowed, line->refused, separator);
}

int main(int count, char **argument) {
    if (count != 8) {
        fprintf(stderr, "usage: link DEVICE_A DEVICE_B RATE_BPS DELAY_US QUEUE_BYTES LOSS_PPM SEED\n");
        return 2;
    }
    int a = open_tap(argument[1]), b = open_tap(argument[2]);
    rate_bps = atoll(argument[3]);
    delay_ns = atoll(argument[4]) * 1000;
    queue_bytes = atoll(argument[5]);
    loss_ppm = strtoull(argument[6], NULL, 10);
    random_state = strtoull(argument[7], NULL, 10) | 1;
    struct line lines[2] = { { .from = a, .to = b }, { .from = b, .to = a } };
    for (int i = 0; i < 2; i++) {
        lines[i].ring = calloc(QUEUE_FRAMES, sizeof(struct frame));
        if (!lines[i].ring) fail("calloc");
    }
    signal(SIGTERM, stop);
    printf("ready\n");
    fflush(stdout);

    while (!stopping) {
        int64_t due_ns = now_ns() + SECOND_NS / 10;   // so that a signal between the test and the wait is seen soon
        for (int i = 0; i < 2; i++) {
            accept_frames(&lines[i]);
            int64_t line_due_ns = deliver_frames(&lines[i]);
            if (line_due_ns < due_ns) due_ns = line_due_ns;
        }
        int64_t wait_ns = due_ns - now_ns();
        if (wait_ns <= 0) continue;
        struct pollfd readable[2] = { { a, POLLIN, 0 }, { b, POLLIN, 0 } };
        struct timespec timeout = { wait_ns / SECOND_NS, wait_ns % SECOND_NS };
        ppoll(readable, 2, &timeout, NULL);
    }
    printf("{");
    report("sourceToDestination", &lines[0], ",");
    report("destinationToSource", &lines[1], "}\n");
    return 0;
}
