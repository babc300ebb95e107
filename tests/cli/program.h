/* program.h: the program as a user runs it: what it prints, and its exit code. */
#pragma once
#include <criterion/criterion.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

typedef struct {
    int code;             /* 128 + signal where one ended it */
    char out[262144], err[8192];
} program_said;

static inline void program_read(int fd, char *text, size_t size) {
    ssize_t n = pread(fd, text, size - 1, 0);
    text[n > 0 ? n : 0] = 0;
    close(fd);
}

typedef struct {
    pid_t pid;
    int out, err; /* files in memory */
} program_running;

/* arguments: after the program's name, up to a NULL. Standard output is no terminal. It leads a process group
 * of its own. */
static inline program_running program_start(const char *const *arguments) {
    const char *argv[64] = { KP_PROGRAM };
    program_running r = { .out = memfd_create("out", MFD_CLOEXEC), .err = memfd_create("err", MFD_CLOEXEC) };
    int n = 1;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t own_group;
    posix_spawnattr_init(&own_group);
    posix_spawnattr_setflags(&own_group, POSIX_SPAWN_SETPGROUP);
    for (; *arguments && n < 63; arguments++) argv[n++] = *arguments;
    cr_assert(r.out >= 0 && r.err >= 0 && !*arguments);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, r.out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, r.err, STDERR_FILENO);
    cr_assert(!posix_spawn(&r.pid, argv[0], &actions, &own_group, (char *const *)(uintptr_t)argv, environ), "%s", argv[0]);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&own_group);
    return r;
}

/* Waits for its end. The answer lies in memory of its own until the next call. */
static inline const program_said *program_end(program_running r) {
    static program_said said;
    int rc = 0;
    cr_assert(waitpid(r.pid, &rc, 0) == r.pid);
    said.code = WIFEXITED(rc) ? WEXITSTATUS(rc) : 128 + WTERMSIG(rc);
    program_read(r.out, said.out, sizeof said.out);
    program_read(r.err, said.err, sizeof said.err);
    return &said;
}

static inline const program_said *program(const char *const *arguments) { return program_end(program_start(arguments)); }

#define PROGRAM_START(...) program_start((const char *const[]){ __VA_ARGS__, NULL })
#define PROGRAM(...) program((const char *const[]){ __VA_ARGS__, NULL })
