/* As tls_identity, where the thread pointer is written behind the kernel's back, if it can be here. TLS-1 */
#include "tls_identity.c"
