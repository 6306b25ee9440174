/* The fixture, for tests that want the whole million: see tests/unit/test_scale.c. */
#include "../programs/sch_million.c"
