/* Runs seccomp programs in the real kernel, for the tests of package seccomp. Reads from stdin: the number of instructions as four
 * bytes, then the instructions; answers on stdout, one line each.
 *
 *   kernel try                      for each program in stdin: "0" if the kernel takes it, else the errno
 *   kernel call {NR A0 A1 A2}...    installs the one program, makes the calls: "0" or the errno of each
 *   kernel int80 {NR A0 A1 A2}...   the same through the i386 gate (x86_64 only)
 *   kernel bench N {NR A0}...       nanoseconds a call, best of 20 rounds; with no instructions, without a filter
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct sock_filter program[8192];

static int next(struct sock_fprog *p)
{
	uint32_t n;
	if (fread(&n, 4, 1, stdin) != 1)
		return 0;
	if (n > 8192 || fread(program, 8, n, stdin) != n)
		exit(2);
	p->len = n;
	p->filter = program;
	return 1;
}

static int install(struct sock_fprog *p)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return errno;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, p) ? errno : 0;
}

static void try(void)
{
	struct sock_fprog p;
	while (next(&p)) {
		int status, ends[2];
		char e;
		if (pipe(ends))
			exit(2);
		pid_t pid = fork();
		if (pid == 0) {
			/* the program may forbid the write: an installed one is told by the end of the pipe */
			e = install(&p);
			if (e)
				syscall(SYS_write, ends[1], &e, 1);
			_exit(0);
		}
		close(ends[1]);
		if (read(ends[0], &e, 1) != 1)
			e = 0;
		close(ends[0]);
		waitpid(pid, &status, 0);
		printf("%d\n", e);
	}
}

static long int80(long nr, long a, long b, long c)
{
#ifdef __x86_64__
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
	return r;
#else
	return -ENOSYS;
#endif
}

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static double bench(long n, long nr, long a)
{
	double best = 1e18;
	for (int round = 0; round < 20; round++) {
		uint64_t start = now();
		for (long i = 0; i < n; i++)
			syscall(nr, a, 0, 0);
		double ns = (double)(now() - start) / n;
		if (ns < best)
			best = ns;
	}
	return best;
}

int main(int argc, char **argv)
{
	static char line[64];
	struct sock_fprog p;
	if (argc < 2)
		return 2;
	if (!strcmp(argv[1], "try")) {
		try();
		return 0;
	}
	if (!next(&p))
		return 2;
	if (p.len && (errno = install(&p))) {
		perror("seccomp");
		return 3;
	}
	if (!strcmp(argv[1], "bench")) {
		for (int i = 3; i + 1 < argc; i += 2) {
			int n = snprintf(line, sizeof(line), "%.1f\n", bench(atol(argv[2]), strtoul(argv[i], 0, 0), strtoul(argv[i + 1], 0, 0)));
			if (write(1, line, n) != n)
				return 4;
		}
		return 0;
	}
	for (int i = 2; i + 3 < argc; i += 4) {
		unsigned long v[4];
		for (int j = 0; j < 4; j++)
			v[j] = strtoul(argv[i + j], 0, 0);
		long r = !strcmp(argv[1], "int80") ? int80(v[0], v[1], v[2], v[3]) : syscall(v[0], v[1], v[2], v[3]);
		int e = r >= 0 ? 0 : !strcmp(argv[1], "int80") ? -r : errno;
		int n = snprintf(line, sizeof(line), "%d\n", e);
		if (write(1, line, n) != n)
			return 4;
	}
	return 0;
}
