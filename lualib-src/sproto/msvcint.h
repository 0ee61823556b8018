/*
 * Integer types of fixed width, under the header name that C code around sproto includes.
 *
 * Every compiler this runtime is built with has them in C99's own headers.
 */
#ifndef msvcint_h
#define msvcint_h

#include <inttypes.h>
#include <stdint.h>

#endif
