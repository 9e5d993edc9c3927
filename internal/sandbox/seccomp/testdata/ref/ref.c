/* Compiles profiles with libseccomp, for the tests of package seccomp. Reads requests from stdin, one command a line:
 *
 *   begin ACTION OPTIMIZE ARCH     the first architecture, by its token; takes the place of the native one
 *   arch TOKEN
 *   rule ACTION NAME COUNT {ARG OP A B}...     OP as in enum scmp_compare
 *   end                            answers "ok N" and N lines "CODE JT JF K", or "error NUMBER"
 *   number TOKEN NAME              answers "ok NUMBER", negative if the architecture lacks the call
 *
 * Build: cc ref.c -lseccomp
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static scmp_filter_ctx ctx;
static int failed;

static void note(int rc)
{
	if (rc < 0 && !failed)
		failed = rc;
}

static void begin(void)
{
	uint32_t action, arch;
	unsigned optimize;
	if (scanf("%" SCNx32 " %u %" SCNx32, &action, &optimize, &arch) != 3)
		exit(2);
	failed = 0;
	ctx = seccomp_init(action);
	if (!ctx) {
		failed = -EINVAL;
		return;
	}
	if (arch != seccomp_arch_native()) {
		note(seccomp_arch_remove(ctx, SCMP_ARCH_NATIVE));
		note(seccomp_arch_add(ctx, arch));
	}
	note(seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, optimize));
}

static void rule(void)
{
	uint32_t action;
	char name[64];
	unsigned n;
	struct scmp_arg_cmp args[6];
	if (scanf("%" SCNx32 " %63s %u", &action, name, &n) != 3 || n > 6)
		exit(2);
	for (unsigned i = 0; i < n; i++) {
		unsigned arg, op;
		if (scanf("%u %u %" SCNu64 " %" SCNu64, &arg, &op, &args[i].datum_a, &args[i].datum_b) != 4)
			exit(2);
		args[i].arg = arg;
		args[i].op = op;
	}
	int nr = seccomp_syscall_resolve_name(name);
	if (nr == __NR_SCMP_ERROR || !ctx)
		return;
	note(seccomp_rule_add_array(ctx, action, nr, n, args));
}

static void end(void)
{
	FILE *f = tmpfile();
	if (!f)
		exit(2);
	if (ctx && !failed)
		note(seccomp_export_bpf(ctx, fileno(f)));
	if (ctx)
		seccomp_release(ctx);
	if (failed) {
		printf("error %d\n", failed);
	} else {
		struct sock_filter i;
		long n = lseek(fileno(f), 0, SEEK_END) / sizeof(i);
		lseek(fileno(f), 0, SEEK_SET);
		printf("ok %ld\n", n);
		while (read(fileno(f), &i, sizeof(i)) == sizeof(i))
			printf("%u %u %u %u\n", i.code, i.jt, i.jf, i.k);
	}
	fclose(f);
	fflush(stdout);
}

int main(void)
{
	char word[16];
	while (scanf("%15s", word) == 1) {
		uint32_t token;
		char name[64];
		if (!strcmp(word, "begin")) {
			begin();
		} else if (!strcmp(word, "arch")) {
			if (scanf("%" SCNx32, &token) != 1)
				exit(2);
			if (ctx) {
				int rc = seccomp_arch_add(ctx, token);
				if (rc != -EEXIST)
					note(rc);
			}
		} else if (!strcmp(word, "rule")) {
			rule();
		} else if (!strcmp(word, "end")) {
			end();
		} else if (!strcmp(word, "number")) {
			if (scanf("%" SCNx32 " %63s", &token, name) != 2)
				exit(2);
			printf("ok %d\n", seccomp_syscall_resolve_name_arch(token, name));
			fflush(stdout);
		} else {
			exit(2);
		}
	}
	return 0;
}
