// Package lsm holds real containers to what the kernel's security modules shall keep them from: AppArmor, SELinux and Landlock. The hostile program has
// every capability and no user namespace, so that nothing but the module stands in its way, and each test runs the same program with the module
// switched off, too, where it must succeed: a test that cannot fail shows nothing.
//
// AppArmor and SELinux are not in force on most machines that build this. BULKHEAD_TEST_LSM says which of them the machine was booted for (test/vm does
// it): there, their tests may not be skipped.
package lsm
