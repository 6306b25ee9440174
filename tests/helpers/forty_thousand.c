/* The fixture, for tests that want all 40,000 threads: see tests/unit/test_scale.c. */
#include "../programs/mem_forty_thousand.c"
