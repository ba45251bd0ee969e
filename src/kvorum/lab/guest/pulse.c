/*
 * pulse: what the test guest does. It counts, and leaves traces that show whether a count was lost.
 *
 *   pulse DISK...
 *
 * - five times a second: "count N" on /dev/ttyS0; a late tick is made up for, no number is skipped
 * - for each DISK (a block device, or DISK@OFFSET:BYTES): the number as text in the next sector of a ring,
 *   O_DIRECT and O_DSYNC, so that it is on the medium before it is reported as flushed
 * - port 80/tcp: one JSON object with the count and what each disk has flushed; port 7/udp: echo (RFC 862)
 * - the ACPI power button: sync and power off
 *
 * The count goes on from the highest number found on any disk, so that a reboot shows what survived.
 * Each duty is a process of its own: a disk that hangs must not make the network look dead.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/input.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECTOR 512
#define MAX_DISKS 8
#define RING_BYTES (8u << 20)
#define WHOLE_DISK_OFFSET (1u << 20)
#define TICK_NS 200000000L

struct disk {
    char name[32];
    uint64_t offset;           /* of the ring, in bytes */
    uint64_t sectors;          /* in the ring */
    volatile uint64_t found;   /* the highest number that was there at boot */
    volatile uint64_t flushed; /* the highest number that is on the medium */
    volatile int error;        /* errno of the last failure, or 0 */
};

struct shared {
    volatile uint64_t count;
    uint64_t boot;
    int disks;
    struct disk disk[MAX_DISKS];
};

static struct shared *shared;
static int serial = -1;

static void say(const char *text)
{
    if (serial >= 0 && write(serial, text, strlen(text)) < 0) { /* nobody can be told */ }
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Find the ring on a disk and the highest number in it. */
static void look(struct disk *d, const char *argument)
{
    static char chunk[1 << 20];
    char path[64];
    uint64_t bytes = 0, at, i;
    int fd;

    snprintf(d->name, sizeof d->name, "%s", argument);
    snprintf(path, sizeof path, "/dev/%s", d->name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes) < 0) {
        d->error = errno;
        return;
    }
    size_t length = strlen(d->name);
    int partition = length && d->name[length - 1] >= '0' && d->name[length - 1] <= '9';
    d->offset = partition ? 0 : WHOLE_DISK_OFFSET;
    if (bytes <= d->offset + SECTOR)
        d->offset = 0;
    bytes -= d->offset;
    if (bytes > RING_BYTES)
        bytes = RING_BYTES;
    d->sectors = bytes / SECTOR;
    for (at = 0; at < d->sectors * SECTOR; at += sizeof chunk) {
        size_t want = d->sectors * SECTOR - at < sizeof chunk ? d->sectors * SECTOR - at : sizeof chunk;
        ssize_t got = pread(fd, chunk, want, (off_t)(d->offset + at));
        if (got <= 0)
            break;
        for (i = 0; i + SECTOR <= (uint64_t)got; i += SECTOR) {
            unsigned long long number, boot;
            chunk[i + SECTOR - 1] = 0;
            if (chunk[i] == 'p' && sscanf(chunk + i, "pulse %llu boot %llu", &number, &boot) == 2) {
                if (number > d->found)
                    d->found = number;
                if (boot >= shared->boot)
                    shared->boot = boot + 1;
            }
        }
    }
    d->flushed = d->found;
    close(fd);
}

static void count_loop(void)
{
    struct itimerspec every = {{0, TICK_NS}, {0, TICK_NS}};
    char line[64];
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

    timerfd_settime(timer, 0, &every, NULL);
    for (;;) {
        uint64_t ticks;
        if (read(timer, &ticks, sizeof ticks) != sizeof ticks)
            continue;
        while (ticks--) {
            shared->count++;
            snprintf(line, sizeof line, "count %llu\n", (unsigned long long)shared->count);
            say(line);
        }
    }
}

/* Write every number in order; numbers that came while a flush took long follow at once. */
static void disk_loop(struct disk *d)
{
    char *sector = NULL, path[64];
    struct timespec pause = {0, TICK_NS / 10};
    int fd;

    snprintf(path, sizeof path, "/dev/%s", d->name);
    fd = open(path, O_WRONLY | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (fd < 0 || !d->sectors || posix_memalign((void **)&sector, 4096, SECTOR)) {
        d->error = errno ? errno : EINVAL;
        return;
    }
    for (uint64_t number = shared->count + 1;;) {
        while (shared->count < number)
            nanosleep(&pause, NULL);
        memset(sector, 0, SECTOR);
        snprintf(sector, SECTOR, "pulse %llu boot %llu\n", (unsigned long long)number,
                 (unsigned long long)shared->boot);
        if (pwrite(fd, sector, SECTOR, (off_t)(d->offset + number % d->sectors * SECTOR)) == SECTOR) {
            d->flushed = number++;
            d->error = 0;
        } else {
            char line[128];
            if (d->error != errno) {
                d->error = errno;
                snprintf(line, sizeof line, "disk %s error %s at %llu\n", d->name, strerror(d->error),
                         (unsigned long long)number);
                say(line);
            }
            nanosleep(&pause, NULL);
        }
    }
}

static void answer_http(int listening)
{
    char request[1024], body[1024], head[160];
    int used, fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    struct timeval limit = {2, 0};

    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (read(fd, request, sizeof request) > 0) {
        used = snprintf(body, sizeof body, "{\"count\": %llu, \"boot\": %llu, \"uptime_ms\": %llu, \"disks\": {",
                        (unsigned long long)shared->count, (unsigned long long)shared->boot,
                        (unsigned long long)now_ms());
        for (int i = 0; i < shared->disks; i++) {
            struct disk *d = &shared->disk[i];
            used += snprintf(body + used, sizeof body - (size_t)used,
                             "%s\"%s\": {\"found\": %llu, \"flushed\": %llu, \"error\": %d}", i ? ", " : "",
                             d->name, (unsigned long long)d->found, (unsigned long long)d->flushed, d->error);
        }
        used += snprintf(body + used, sizeof body - (size_t)used, "}}\n");
        int length = snprintf(head, sizeof head,
                              "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
                              "Connection: close\r\n\r\n", used);
        if (write(fd, head, (size_t)length) == length && write(fd, body, (size_t)used) == used)
            shutdown(fd, SHUT_WR);
    }
    close(fd);
}

/* HTTP in one process, one request at a time. */
static void http_loop(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(80)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&any, sizeof any) < 0 || listen(fd, 64) < 0)
        return;
    for (;;)
        answer_http(fd);
}

static void echo_loop(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(7)}, from;
    static char packet[65536];
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (bind(fd, (struct sockaddr *)&any, sizeof any) < 0)
        return;
    for (;;) {
        socklen_t size = sizeof from;
        ssize_t length = recvfrom(fd, packet, sizeof packet, 0, (struct sockaddr *)&from, &size);
        /* A source port below 1024 could be another echo service: RFC 862's endless loop. */
        if (length >= 0 && ntohs(from.sin_port) >= 1024)
            sendto(fd, packet, (size_t)length, 0, (struct sockaddr *)&from, size);
    }
}

/* Wait for KEY_POWER on any input device. */
static void button_loop(void)
{
    struct pollfd fds[16];
    struct input_event event;
    struct dirent *entry;
    nfds_t n = 0;
    DIR *inputs = opendir("/dev/input");

    while (inputs && (entry = readdir(inputs)) && n < 16) {
        char path[300];
        snprintf(path, sizeof path, "/dev/input/%s", entry->d_name);
        if (!strncmp(entry->d_name, "event", 5) && (fds[n].fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0)
            fds[n++].events = POLLIN;
    }
    if (!n)
        return;
    while (poll(fds, n, -1) >= 0 || errno == EINTR)
        for (nfds_t i = 0; i < n; i++)
            if (fds[i].revents & POLLIN && read(fds[i].fd, &event, sizeof event) == sizeof event
                && event.type == EV_KEY && event.code == KEY_POWER && event.value == 1) {
                say("power button\n");
                sync();
                reboot(RB_POWER_OFF);
            }
}

static void begin(void (*duty)(void))
{
    if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        duty();
        pause();
    }
}

int main(int argc, char **argv)
{
    char line[256];

    signal(SIGPIPE, SIG_IGN);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    shared->boot = 1;
    serial = open("/dev/ttyS0", O_WRONLY | O_NOCTTY | O_CLOEXEC);
    for (int i = 1; i < argc && shared->disks < MAX_DISKS; i++) {
        struct disk *d = &shared->disk[shared->disks++];
        look(d, argv[i]);
        if (d->found > shared->count)
            shared->count = d->found;
    }
    snprintf(line, sizeof line, "pulse boot %llu from %llu after %llu ms\n", (unsigned long long)shared->boot,
             (unsigned long long)shared->count, (unsigned long long)now_ms());
    say(line);
    for (int i = 0; i < shared->disks; i++)
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            disk_loop(&shared->disk[i]);
            pause();
        }
    begin(http_loop);
    begin(echo_loop);
    begin(button_loop);
    count_loop();
    return 1;
}
