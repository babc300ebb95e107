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

/* arguments: after the program's name, up to a NULL. Standard output is no terminal. The answer lies
 * in memory of its own until the next call. */
static inline const program_said *program(const char *const *arguments) {
    static program_said said;
    const char *argv[32] = { KP_PROGRAM };
    int n = 1, out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC), rc = 0;
    pid_t pid;
    posix_spawn_file_actions_t actions;
    for (; *arguments && n < 31; arguments++) argv[n++] = *arguments;
    cr_assert(out >= 0 && err >= 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
    cr_assert(!posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ), "%s", argv[0]);
    posix_spawn_file_actions_destroy(&actions);
    cr_assert(waitpid(pid, &rc, 0) == pid);
    said.code = WIFEXITED(rc) ? WEXITSTATUS(rc) : 128 + WTERMSIG(rc);
    program_read(out, said.out, sizeof said.out);
    program_read(err, said.err, sizeof said.err);
    return &said;
}

#define PROGRAM(...) program((const char *const[]){ __VA_ARGS__, NULL })
