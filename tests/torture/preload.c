/* Loaded into a process by a test: a wall clock that is wrong, and a death at the n-th effect on files.

   SHIFT_SECONDS, SHIFT_FILE: the wall clock differs by so many seconds while that file exists.
   DIE_AT: the process kills itself right before its n-th effect. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void) {
    const char *file = getenv("SHIFT_FILE"), *seconds = getenv("SHIFT_SECONDS");
    return file && seconds && access(file, F_OK) == 0 ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(clock, now);
    if (done == 0 && clock == CLOCK_REALTIME) now->tv_sec += shift();
    return done;
}

int gettimeofday(struct timeval *now, void *zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
    int done = real(now, zone);
    if (done == 0) now->tv_sec += shift();
    return done;
}

time_t time(time_t *now) {
    struct timeval exact;
    gettimeofday(&exact, NULL);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}

static void effect(void) {
    static long left = -1;
    if (left < 0) left = getenv("DIE_AT") ? atol(getenv("DIE_AT")) : 0;
    if (left > 0 && --left == 0) kill(getpid(), SIGKILL);
}

#define WRITES (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND)
#define OPENER(name, before, ...)                                    \
    int name(before const char *path, int flags, ...) {              \
        static int (*real)(before const char *, int, ...);           \
        va_list rest;                                                \
        va_start(rest, flags);                                       \
        mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;    \
        va_end(rest);                                                \
        if (!real) real = dlsym(RTLD_NEXT, #name);                   \
        if (flags & WRITES) effect();                                \
        return real(__VA_ARGS__ path, flags, mode);                  \
    }
OPENER(open, , )
OPENER(open64, , )

#define PATHS(name, types, call)                                     \
    int name types {                                                 \
        static int (*real) types;                                    \
        if (!real) real = dlsym(RTLD_NEXT, #name);                   \
        effect();                                                    \
        return real call;                                            \
    }
PATHS(rename, (const char *from, const char *to), (from, to))
PATHS(link, (const char *from, const char *to), (from, to))
PATHS(symlink, (const char *from, const char *to), (from, to))
PATHS(unlink, (const char *path), (path))
PATHS(rmdir, (const char *path), (path))
PATHS(mkdir, (const char *path, mode_t mode), (path, mode))
PATHS(fsync, (int file), (file))

ssize_t write(int file, const void *data, size_t size) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if (file > 2) effect();
    return real(file, data, size);
}
