/* Preloaded into a process: after N writes below a directory its disk is full (ENOSPC), for good or for one write.
   NOSPACE_UNDER names the directory, NOSPACE_AFTER the number, NOSPACE_ONCE whether the next write fits again,
   NOSPACE_ERROR another error than ENOSPC: 30 (EROFS) is a disk that was mounted to be read only. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long count = 0;

static int full(int fd) {
    const char *under = getenv("NOSPACE_UNDER"), *after = getenv("NOSPACE_AFTER");
    if (under == NULL || after == NULL) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strncmp(path, under, strlen(under)) != 0) return 0;
    long number = __atomic_fetch_add(&count, 1, __ATOMIC_SEQ_CST), last = atol(after);
    if (number < last || (getenv("NOSPACE_ONCE") != NULL && number > last)) return 0;
    errno = getenv("NOSPACE_ERROR") == NULL ? ENOSPC : atoi(getenv("NOSPACE_ERROR"));
    return 1;
}

ssize_t write(int fd, const void *data, size_t size) {
    static ssize_t (*really)(int, const void *, size_t);
    if (really == NULL) really = dlsym(RTLD_NEXT, "write");
    return full(fd) ? -1 : really(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    static ssize_t (*really)(int, const void *, size_t, off_t);
    if (really == NULL) really = dlsym(RTLD_NEXT, "pwrite");
    return full(fd) ? -1 : really(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) { return pwrite(fd, data, size, at); }

int fsync(int fd) {
    static int (*really)(int);
    if (really == NULL) really = dlsym(RTLD_NEXT, "fsync");
    return full(fd) ? -1 : really(fd);
}
