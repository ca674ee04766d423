/* Faults of the system under a real program: loaded before its other libraries (LD_PRELOAD), steered
   through a file in memory that a test writes while the program runs. tests/it/faults/preload.rs
   and loadtest/bench.py build it and know the same layout.

   Syncs of files can be delayed or fail; the wall clock can be moved; with FAULTS_NO_FALLOCATE in the
   environment no space can be reserved, as on file systems that cannot. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct control {
    uint64_t hold_syncs;    /* while not 0, syncs of files that match wait */
    uint64_t waiting_syncs; /* how many wait */
    uint64_t delay_micros;  /* how long each sync of a file that matches takes more */
    uint64_t fail_syncs;    /* so many more syncs of files that match fail with EIO */
    uint64_t failed_syncs;  /* how many did */
    int64_t clock_seconds;  /* added to the wall clock */
    char part[208];         /* part of the path of the files that match; empty for all */
};

static struct control *control;

static int without_fallocate(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CONTROL");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *memory = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (memory == MAP_FAILED || (getenv("FAULTS_NO_FALLOCATE") && without_fallocate())) {
        perror("preload: the faults cannot be set up");
        _exit(97);
    }
    control = memory;
}

static int matches(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof(path) - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, control->part) != NULL;
}

static int counted_down(uint64_t *left) {
    uint64_t now = __atomic_load_n(left, __ATOMIC_SEQ_CST);
    while (now > 0)
        if (__atomic_compare_exchange_n(left, &now, now - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return 1;
    return 0;
}

static int synced(long call, int fd) {
    if (!control || !matches(fd))
        return (int)syscall(call, fd);
    __atomic_fetch_add(&control->waiting_syncs, 1, __ATOMIC_SEQ_CST);
    uint64_t waited = 0;
    while (__atomic_load_n(&control->hold_syncs, __ATOMIC_SEQ_CST) ||
           waited < __atomic_load_n(&control->delay_micros, __ATOMIC_SEQ_CST)) {
        struct timespec moment = {0, 1000 * 1000};
        nanosleep(&moment, NULL);
        waited += 1000;
    }
    __atomic_fetch_sub(&control->waiting_syncs, 1, __ATOMIC_SEQ_CST);
    if (counted_down(&control->fail_syncs)) {
        __atomic_fetch_add(&control->failed_syncs, 1, __ATOMIC_SEQ_CST);
        errno = EIO;
        return -1;
    }
    return (int)syscall(call, fd);
}

int fdatasync(int fd) { return synced(SYS_fdatasync, fd); }
int fsync(int fd) { return synced(SYS_fsync, fd); }

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && control && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        time->tv_sec += __atomic_load_n(&control->clock_seconds, __ATOMIC_SEQ_CST);
    return result;
}
