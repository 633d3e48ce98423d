/*
 * Preloaded into a process, shifts its wall clock by what the file named in AUTOMON_TEST_CLOCK says at that moment:
 * a signed number of microseconds in 8 bytes.
 *
 * The monotonic clocks stay true, as they do when somebody sets a machine's clock. So do the waits of Python,
 * PostgreSQL and OpenSSL: they are relative or wait for a moment of the monotonic clock, so none has to be shifted.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MICROSECONDS 1000000
#define NANOSECONDS 1000000000

static const int64_t no_shift = 0;
static const int64_t *shift = &no_shift;

/* A process that silently ran on the true clock would pass tests that it should fail. */
__attribute__((constructor)) static void map_shift(void)
{
    const char *path = getenv("AUTOMON_TEST_CLOCK");
    if (path == NULL)
        return;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED) {
        perror(path);
        _exit(127);
    }
    close(file);
    shift = page;
}

static void add_shift(struct timespec *moment)
{
    int64_t microseconds = __atomic_load_n(shift, __ATOMIC_RELAXED);
    moment->tv_sec += microseconds / MICROSECONDS;
    moment->tv_nsec += microseconds % MICROSECONDS * 1000;
    if (moment->tv_nsec < 0) {
        moment->tv_sec -= 1;
        moment->tv_nsec += NANOSECONDS;
    } else if (moment->tv_nsec >= NANOSECONDS) {
        moment->tv_sec += 1;
        moment->tv_nsec -= NANOSECONDS;
    }
}

/* The kernel is asked directly: looking up libc's own function may fail before all libraries are there. */
int clock_gettime(clockid_t clock, struct timespec *moment)
{
    if (syscall(SYS_clock_gettime, clock, moment) != 0)
        return -1;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        add_shift(moment);
    return 0;
}

int gettimeofday(struct timeval *restrict moment, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    moment->tv_sec = now.tv_sec;
    moment->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *moment)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (moment != NULL)
        *moment = now.tv_sec;
    return now.tv_sec;
}
