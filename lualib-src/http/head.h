/*
 * The head of an HTTP/1.x message: start line and fields. See head.c.
 */
#ifndef http_head_h
#define http_head_h

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_FIELDS_MAX 128

enum http_result {
	HTTP_OK,
	HTTP_MORE,        /* the blank line hasn't come yet */
	HTTP_TOO_LARGE,   /* longer than the limit, or too many fields */
	HTTP_BAD_LINE,    /* the start line */
	HTTP_BAD_VERSION, /* neither 1.0 nor 1.1 */
	HTTP_BAD_FIELD,   /* a field line, or fields that contradict each other */
	HTTP_BAD_CODING,  /* a transfer coding other than chunked */
};

/* Bytes inside the parsed text, borrowed from it. */
struct http_text {
	const char *at;
	size_t size;
};

struct http_field {
	struct http_text name, value;
	bool folded; /* the value goes on over line ends, which stand for blanks */
};

struct http_head {
	struct http_text method, target; /* of a request */
	int status;                      /* of a response */
	int minor;                       /* HTTP/1.minor */
	int64_t length;                  /* content-length, or -1 */
	bool chunked;
	bool keepalive;  /* another message may follow on this connection */
	bool expect;     /* expect: 100-continue */
	size_t size;     /* of the head in bytes, blank line included */
	const char *why; /* what is wrong, unless HTTP_OK or HTTP_MORE */
	unsigned count;
	struct http_field field[HTTP_FIELDS_MAX];
};

/* Parse the head at the begin of `bytes`; at most `limit` bytes of them may be head. */
enum http_result http_parse_request(struct http_head *h, const char *bytes, size_t size,
                                    size_t limit);
enum http_result http_parse_response(struct http_head *h, const char *bytes, size_t size,
                                     size_t limit);

#endif
