/* Preloaded into a program, makes its date jump: at each look it is another year. The clocks that
   only go forward stay as they are. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long jump(void) {
    static atomic_long looks;
    /* Back to 2001, then to 2033, and so on. */
    return atomic_fetch_add(&looks, 1) % 2 ? 2000000000 : 1000000000;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int done = (int)syscall(SYS_clock_gettime, clock, now);
    if (done == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec = jump();
    return done;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    (void)zone;
    now->tv_sec = jump();
    now->tv_usec = 0;
    return 0;
}

time_t time(time_t *now) {
    time_t then = jump();
    if (now != NULL)
        *now = then;
    return then;
}
