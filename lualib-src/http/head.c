/*
 * Parsing the head of an HTTP/1.x message, and deciding how its body is delimited.
 *
 * Requests are held to the letter of RFC 9112, because whatever two parsers on one path read
 * differently can be used to smuggle a second request inside the first: every line ends with
 * CRLF, no other control characters, no blanks around a field's name, no folded lines, one
 * content-length of digits only, and never together with transfer-encoding. Responses are read
 * with more patience: folded lines, a repeated equal length, and chunked next to a length (the
 * connection isn't used again then).
 *
 * No memory is taken, nothing is copied: texts point into the bytes given. Pure functions, any
 * thread.
 */
#include "head.h"

#include <string.h>

#define LENGTH_DIGITS_MAX 15

struct parser {
	struct http_head *h;
	const char *end;
	bool request;
	bool has_coding, close, keep;
	unsigned hosts;
};

/* tchar of RFC 9110: what names and methods are made of */
static bool
is_token(unsigned char c) {
	static const uint32_t set[8] = {0, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff};
	return (set[c >> 5] >> (c & 31)) & 1;
}

static bool
all_token(struct http_text t) {
	for (size_t i = 0; i < t.size; i++) {
		if (!is_token((unsigned char)t.at[i]))
			return false;
	}
	return t.size > 0;
}

static bool
is_control(unsigned char c) {
	return (c < 0x20 && c != '\t') || c == 0x7f;
}

static bool
has_control(const char *s, const char *end) {
	for (; s < end; s++) {
		if (is_control((unsigned char)*s))
			return true;
	}
	return false;
}

static char
lower(char c) {
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Is it this word, which is lower-case? */
static bool
is(struct http_text t, const char *word) {
	size_t n = strlen(word);
	if (t.size != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (lower(t.at[i]) != word[i])
			return false;
	}
	return true;
}

static struct http_text
trim(const char *from, const char *to) {
	while (from < to && (*from == ' ' || *from == '\t'))
		from++;
	while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
		to--;
	return (struct http_text){from, (size_t)(to - from)};
}

static enum http_result
bad(struct parser *p, enum http_result r, const char *why) {
	p->h->why = why;
	return r;
}

/* Take the next word of a comma-separated list; false at its end. */
static bool
next_word(struct http_text *list, struct http_text *word) {
	if (list->size == 0)
		return false;
	const char *comma = memchr(list->at, ',', list->size);
	const char *end = list->at + list->size;
	const char *stop = comma ? comma : end;
	*word = trim(list->at, stop);
	list->at = comma ? comma + 1 : end;
	list->size = (size_t)(end - list->at);
	return true;
}

/*
 * ---- fields that decide where the message ends ----
 */

static enum http_result
take_length(struct parser *p, struct http_text v) {
	int64_t n = 0;
	if (v.size == 0 || v.size > LENGTH_DIGITS_MAX)
		return bad(p, HTTP_BAD_FIELD, "content-length isn't a sane number");
	for (size_t i = 0; i < v.size; i++) {
		if (v.at[i] < '0' || v.at[i] > '9')
			return bad(p, HTTP_BAD_FIELD, "content-length isn't a number");
		n = n * 10 + (v.at[i] - '0');
	}
	if (p->h->length >= 0 && (p->request || p->h->length != n))
		return bad(p, HTTP_BAD_FIELD, "content-length is given more than once");
	p->h->length = n;
	return HTTP_OK;
}

static enum http_result
take_coding(struct parser *p, struct http_text v) {
	if (p->has_coding)
		return bad(p, HTTP_BAD_CODING, "transfer-encoding is given more than once");
	p->has_coding = true;
	if (is(v, "chunked"))
		p->h->chunked = true;
	else if (!is(v, "identity"))
		return bad(p, HTTP_BAD_CODING, "a transfer-encoding that isn't supported");
	return HTTP_OK;
}

static void
take_connection(struct parser *p, struct http_text list) {
	struct http_text word;
	while (next_word(&list, &word)) {
		if (is(word, "close"))
			p->close = true;
		else if (is(word, "keep-alive"))
			p->keep = true;
	}
}

/* Look at a field whose meaning the parser knows. */
static enum http_result
take_field(struct parser *p, const struct http_field *f) {
	switch (f->name.size) {
	case 4:
		if (is(f->name, "host") && ++p->hosts > 1 && p->request)
			return bad(p, HTTP_BAD_FIELD, "host is given more than once");
		break;
	case 6:
		if (is(f->name, "expect") && is(f->value, "100-continue"))
			p->h->expect = true;
		break;
	case 10:
		if (is(f->name, "connection"))
			take_connection(p, f->value);
		break;
	case 14:
		if (is(f->name, "content-length"))
			return take_length(p, f->value);
		break;
	case 17:
		if (is(f->name, "transfer-encoding"))
			return take_coding(p, f->value);
		break;
	}
	return HTTP_OK;
}

/* All fields are known: do they agree? */
static enum http_result
settle(struct parser *p) {
	struct http_head *h = p->h;
	if (p->request && p->has_coding && h->length >= 0)
		return bad(p, HTTP_BAD_FIELD, "both content-length and transfer-encoding are given");
	if (p->request && h->chunked && h->minor == 0)
		return bad(p, HTTP_BAD_FIELD, "chunked needs HTTP/1.1");
	h->keepalive = !p->close && (h->minor > 0 || p->keep);
	if (h->chunked && h->length >= 0) {
		h->length = -1;
		h->keepalive = false;
	}
	if (h->minor == 0)
		h->expect = false;
	return HTTP_OK;
}

/*
 * ---- lines ----
 */

/* The end of the line (its CR); NULL when it isn't ended by CRLF or holds control characters. */
static const char *
line_end(const struct parser *p, const char *line) {
	const char *lf = memchr(line, '\n', (size_t)(p->end - line));
	if (lf == NULL || lf == line || lf[-1] != '\r' || has_control(line, lf - 1))
		return NULL;
	return lf - 1;
}

/* A line that begins with a blank belongs to the field before. */
static enum http_result
fold(struct parser *p, const char *cr) {
	if (p->request || p->h->count == 0)
		return bad(p, HTTP_BAD_FIELD, "a folded header line");
	struct http_field *f = &p->h->field[p->h->count - 1];
	f->value = trim(f->value.at, cr);
	f->folded = true;
	return HTTP_OK;
}

static enum http_result
parse_field(struct parser *p, const char *line, const char *cr) {
	struct http_head *h = p->h;
	if (*line == ' ' || *line == '\t')
		return fold(p, cr);
	const char *colon = memchr(line, ':', (size_t)(cr - line));
	if (colon == NULL)
		return bad(p, HTTP_BAD_FIELD, "a header line without colon");
	if (h->count == HTTP_FIELDS_MAX)
		return bad(p, HTTP_TOO_LARGE, "too many header lines");
	struct http_field *f = &h->field[h->count];
	f->name = (struct http_text){line, (size_t)(colon - line)};
	if (!p->request) /* some servers leave a blank before the colon */
		f->name = trim(line, colon);
	if (!all_token(f->name))
		return bad(p, HTTP_BAD_FIELD, "not a header name");
	f->value = trim(colon + 1, cr);
	f->folded = false;
	h->count++;
	return HTTP_OK;
}

static enum http_result
parse_fields(struct parser *p, const char *line) {
	while (*line != '\r' || line + 2 < p->end) {
		const char *cr = line_end(p, line);
		if (cr == NULL)
			return bad(p, HTTP_BAD_FIELD,
			           "a header line with a bare line end or control character");
		enum http_result r = parse_field(p, line, cr);
		if (r != HTTP_OK)
			return r;
		line = cr + 2;
	}
	for (unsigned i = 0; i < p->h->count; i++) {
		enum http_result r = take_field(p, &p->h->field[i]);
		if (r != HTTP_OK)
			return r;
	}
	return settle(p);
}

/* "HTTP/1.x"; returns false when it isn't a version at all. */
static bool
parse_version(const char *s, const char *end, int *major, int *minor) {
	if (end - s != 8 || memcmp(s, "HTTP/", 5) != 0 || s[6] != '.')
		return false;
	*major = s[5] - '0';
	*minor = s[7] - '0';
	return *major >= 0 && *major <= 9 && *minor >= 0 && *minor <= 9;
}

static enum http_result
request_line(struct parser *p, const char *line, const char *cr) {
	struct http_head *h = p->h;
	int major = 0;
	const char *space = memchr(line, ' ', (size_t)(cr - line));
	if (space == NULL)
		return bad(p, HTTP_BAD_LINE, "malformed request line");
	const char *target = space + 1;
	const char *space2 = memchr(target, ' ', (size_t)(cr - target));
	if (space2 == NULL || space2 == target || !parse_version(space2 + 1, cr, &major, &h->minor))
		return bad(p, HTTP_BAD_LINE, "malformed request line");
	h->method = (struct http_text){line, (size_t)(space - line)};
	h->target = (struct http_text){target, (size_t)(space2 - target)};
	if (!all_token(h->method) || memchr(target, '\t', h->target.size))
		return bad(p, HTTP_BAD_LINE, "malformed request line");
	if (major != 1 || h->minor > 1)
		return bad(p, HTTP_BAD_VERSION, "HTTP version not supported");
	return HTTP_OK;
}

static enum http_result
status_line(struct parser *p, const char *line, const char *cr) {
	struct http_head *h = p->h;
	int major = 0;
	const char *code = line + 9;
	if (cr - line < 12 || line[8] != ' ' || !parse_version(line, line + 8, &major, &h->minor))
		return bad(p, HTTP_BAD_LINE, "malformed status line");
	if (cr - code > 3 && code[3] != ' ')
		return bad(p, HTTP_BAD_LINE, "malformed status line");
	for (int i = 0; i < 3; i++) {
		if (code[i] < '0' || code[i] > '9')
			return bad(p, HTTP_BAD_LINE, "malformed status line");
		h->status = h->status * 10 + (code[i] - '0');
	}
	if (major != 1 || h->status < 100)
		return bad(p, HTTP_BAD_VERSION, "HTTP version not supported");
	return HTTP_OK;
}

/* No blank line yet: say at once what can't become a head any more. */
static enum http_result
unfinished(struct parser *p, const char *bytes, size_t size, size_t limit) {
	const char *end = bytes + size;
	if (size > limit)
		return bad(p, HTTP_TOO_LARGE, "the header is too long");
	if (size > 0 && !is_token((unsigned char)bytes[0]) && bytes[0] != '\r')
		return bad(p, HTTP_BAD_LINE, "this isn't HTTP");
	for (const char *lf = bytes; (lf = memchr(lf, '\n', (size_t)(end - lf))) != NULL; lf++) {
		if (lf == bytes || lf[-1] != '\r')
			return bad(p, HTTP_BAD_FIELD, "a line ends without carriage return");
	}
	return HTTP_MORE;
}

static enum http_result
parse(struct parser *p, const char *bytes, size_t size, size_t limit) {
	struct http_head *h = p->h;
	memset(h, 0, offsetof(struct http_head, field));
	h->length = -1;
	const char *start = bytes;
	/* a client may have sent an empty line after its last request */
	if (p->request && size >= 2 && memcmp(start, "\r\n", 2) == 0)
		start += 2;
	size_t left = size - (size_t)(start - bytes);
	const char *blank = memmem(start, left, "\r\n\r\n", 4);
	if (blank == NULL)
		return unfinished(p, start, left, limit);
	p->end = blank + 4;
	h->size = (size_t)(p->end - bytes);
	if (h->size > limit)
		return bad(p, HTTP_TOO_LARGE, "the header is too long");
	const char *cr = line_end(p, start);
	if (cr == NULL)
		return bad(p, HTTP_BAD_LINE, "malformed start line");
	enum http_result r = p->request ? request_line(p, start, cr) : status_line(p, start, cr);
	return r == HTTP_OK ? parse_fields(p, cr + 2) : r;
}

enum http_result
http_parse_request(struct http_head *h, const char *bytes, size_t size, size_t limit) {
	struct parser p = {.h = h, .request = true};
	return parse(&p, bytes, size, limit);
}

enum http_result
http_parse_response(struct http_head *h, const char *bytes, size_t size, size_t limit) {
	struct parser p = {.h = h, .request = false};
	return parse(&p, bytes, size, limit);
}
