/*
 * Fuzz the harbor service's side of a link: the first byte of input chooses who dialled and how the
 * bytes are cut, the rest is what the peer sends.
 *
 *   clang -g -O1 -std=gnu11 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -Iskynet-src \
 *       -I3rd/lua test/fuzz/harbor_fuzz.c 3rd/lua/src/src/l[!u]*.c 3rd/lua/src/src/lu[!a]*.c \
 *       3rd/lua/codecache.c -lm -ldl
 *   ./a.out test/fuzz/corpus/harbor
 *
 * The kernel is played here. Besides memory: only types that other nodes may send arrive, to
 * handles of this node; buffered input is bounded by what came; after the link's end nothing is
 * delivered, and its one call has failed, if no answer came.
 */
#define NOUSE_JEMALLOC
#define skynet_malloc malloc
#define skynet_calloc calloc
#define skynet_realloc realloc
#define skynet_free free
#define skynet_account_take fuzz_account_take
#define skynet_callback fuzz_callback
#define skynet_send fuzz_send
#define skynet_error fuzz_error
#define skynet_command fuzz_command
#define skynet_now fuzz_now
#define skynet_harbor_start fuzz_harbor_start
#define skynet_handle_grab fuzz_handle_grab
#define skynet_context_release fuzz_context_release
#define skynet_socket_start fuzz_socket_start
#define skynet_socket_close fuzz_socket_close
#define skynet_socket_shutdown fuzz_socket_shutdown
#define skynet_socket_keepalive fuzz_socket_keepalive
#define skynet_socket_sendbuffer fuzz_socket_sendbuffer

#include "../../lualib-src/lua-seri.c"
#include "../../service-src/harbor/harbor.c"
#include "../../service-src/harbor/link.c"
#include "../../service-src/harbor/pending.c"

#define OWN 1
#define PEER 2
#define SLAVE 0x01000005
#define CALLER 0x01000009
#define SESSION 77

static bool closed; /* the link's socket */
static unsigned sum_of_bytes;
static bool settled; /* the call was answered, or failed */

static void
require(bool good) {
	if (!good)
		abort();
}

int
fuzz_send(struct skynet_context *ctx, uint32_t source, uint32_t destination, int type, int session,
          void *msg, size_t sz) {
	(void)ctx;
	(void)source;
	bool given = type & PTYPE_TAG_DONTCOPY;
	type &= 0xff;
	for (size_t i = 0; i < sz; i++)
		sum_of_bytes += ((uint8_t *)msg)[i]; /* all of it can be read */
	if (destination == SLAVE && type == PTYPE_TEXT)
		return 0;
	require(!is_internal(type));
	if (destination >> HANDLE_REMOTE_SHIFT == OWN && destination == CALLER && session == SESSION &&
	    (type == PTYPE_RESPONSE || type == PTYPE_ERROR))
		settled = true;
	if (given)
		free(msg);
	return (destination & 1) ? 0 : -1; /* every other service is dead */
}

void
fuzz_error(struct skynet_context *ctx, const char *format, ...) {
	(void)ctx;
	(void)format;
}

void
fuzz_callback(struct skynet_context *ctx, void *ud, skynet_cb callback) {
	(void)ctx;
	(void)ud;
	(void)callback;
}

const char *
fuzz_command(struct skynet_context *ctx, const char *cmd, const char *param) {
	(void)ctx;
	(void)cmd;
	(void)param;
	return "7";
}

uint64_t
fuzz_now(void) {
	return 0;
}

void
fuzz_harbor_start(void *ctx) {
	(void)ctx;
}

struct skynet_context *
fuzz_handle_grab(uint32_t handle) {
	(void)handle;
	return NULL;
}

void
fuzz_account_take(void *block) {
	(void)block;
}

void
fuzz_context_release(struct skynet_context *ctx) {
	(void)ctx;
}

void
fuzz_socket_start(struct skynet_context *ctx, int id) {
	(void)ctx;
	(void)id;
}

void
fuzz_socket_close(struct skynet_context *ctx, int id) {
	(void)ctx;
	(void)id;
	closed = true;
}

void
fuzz_socket_shutdown(struct skynet_context *ctx, int id) {
	fuzz_socket_close(ctx, id);
}

void
fuzz_socket_keepalive(struct skynet_context *ctx, int id, int idle, int interval, int n, int ms) {
	(void)ctx;
	(void)id;
	(void)idle;
	(void)interval;
	(void)n;
	(void)ms;
}

int
fuzz_socket_sendbuffer(struct skynet_context *ctx, struct socket_sendbuffer *b) {
	(void)ctx;
	free((void *)b->buffer);
	return 0;
}

static void
receive(struct harbor *h, const uint8_t *data, size_t n) {
	struct skynet_socket_message m = {SKYNET_SOCKET_TYPE_DATA, 3, (int)n, malloc(n)};
	memcpy(m.buffer, data, n);
	on_message(NULL, h, PTYPE_SOCKET, 0, 0, &m, sizeof(m));
}

static void
call_peer(struct harbor *h) {
	struct remote_message r = {{"", PEER << HANDLE_REMOTE_SHIFT | 9}, strdup("call"), 4,
	                           PTYPE_RESERVED_LUA};
	on_message(NULL, h, PTYPE_SYSTEM, SESSION, CALLER, &r, sizeof(r));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (size == 0)
		return 0;
	struct harbor *h = harbor_create();
	require(harbor_init(h, NULL, "1 16777221") == 0);
	closed = settled = false;
	call_peer(h); /* waits: nobody is connected */
	on_message(NULL, h, PTYPE_HARBOR, 0, SLAVE, data[0] & 1 ? "S 3 2" : "A 3 2", 5);
	size_t piece = 1 + (data[0] >> 1), sum = 0;
	for (size_t at = 1; at < size && !closed; at += piece) {
		size_t n = size - at < piece ? size - at : piece;
		receive(h, data + at, n);
		sum += n;
		require(h->link[PEER].have <= sum && h->link[PEER].room <= 2 * sum + KEEP_INPUT);
	}
	if (!closed) {
		struct skynet_socket_message m = {SKYNET_SOCKET_TYPE_CLOSE, 3, 0, NULL};
		on_message(NULL, h, PTYPE_SOCKET, 0, 0, &m, sizeof(m));
	}
	require(closed && settled);
	require(h->link[PEER].state == LINK_DOWN && h->link[PEER].input == NULL);
	require(h->pending.used == 0);
	harbor_release(h);
	return 0;
}
