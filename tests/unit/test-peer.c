/* SPDX-License-Identifier: MIT */

/*
 * What went wrong in others: a limit for each address that counted each of the 2^64 addresses of
 * one IPv6 subscriber by itself; an IPv4 client of a dual-stack socket that was a different source
 * than the same client of an IPv4 socket; a log that named a UNIX client by an address it has not.
 */

#include "kernel.h"
#include "peer.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

struct text {
    enum socket_kind kind;
    const char *address; /* an internet address, or NULL */
    uint32_t number;     /* the uid, or the cid */
    uint32_t port;
    const char *text;
};

static const struct text texts[] = {
    {SOCKET_TCP, "192.0.2.1", 0, 4000, "192.0.2.1:4000"},
    {SOCKET_TCP, "0.0.0.0", 0, 0, "0.0.0.0:0"},
    {SOCKET_TCP, "255.255.255.255", 0, 65535, "255.255.255.255:65535"},
    {SOCKET_TCP, "::ffff:192.0.2.1", 0, 4000, "192.0.2.1:4000"},
    {SOCKET_TCP, "::", 0, 7070, "[::]:7070"},
    {SOCKET_TCP, "::1", 0, 4000, "[::1]:4000"},
    {SOCKET_TCP, "2001:db8::1", 0, 4000, "[2001:db8::1]:4000"},
    {SOCKET_TCP, "2001:db8:1111:2222:3333:4444:5555:6666", 0, 65535,
        "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"},
    {SOCKET_TCP, "64:ff9b::192.0.2.1", 0, 1, "[64:ff9b::c000:201]:1"},
    {SOCKET_MPTCP, "192.0.2.1", 0, 4000, "192.0.2.1:4000"},
    {SOCKET_MPTCP, "2001:db8::1", 0, 4000, "[2001:db8::1]:4000"},
    {SOCKET_UNIX, NULL, 1000, 0, "unix:pid=4711:uid=1000"},
    {SOCKET_UNIX, NULL, 4294967294, 0, "unix:pid=4711:uid=4294967294"},
    {SOCKET_VSOCK, NULL, 3, 4000, "vsock:3:4000"},
    {SOCKET_VSOCK, NULL, 4294967295, 4294967295, "vsock:4294967295:4294967295"},
};

/* As accept4(2) would have filled it in. */
static void make_peer(struct peer *peer, const struct text *c)
{
    union peer_address address;
    struct source source;

    memset(&address, 0xff, sizeof(address)); /* what the last one has left there */
    memset(peer, 0xff, sizeof(*peer));
    kernel_reset(&source, 0);
    struct kernel_socket *s = kernel_connect(c->kind, NULL);
    s->source = c->number;
    if (c->kind == SOCKET_UNIX) {
        address.any.sa_family = AF_UNIX; /* a client has no name, and nothing else is written */
    } else if (c->kind == SOCKET_VSOCK) {
        address.vsock =
            (struct peer_vsock_address){.family = AF_VSOCK, .port = c->port, .cid = c->number};
    } else if (strchr(c->address, ':')) {
        address.in6 =
            (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)c->port)};
        assert_int_equal(inet_pton(AF_INET6, c->address, &address.in6.sin6_addr), 1);
    } else {
        address.in =
            (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)c->port)};
        assert_int_equal(inet_pton(AF_INET, c->address, &address.in.sin_addr), 1);
    }
    peer_set(peer, kernel_fd(s), c->kind, &address);
}

static void test_text(void **state)
{
    const struct text *c = *state;
    struct peer peer;
    char text[PEER_TEXT + 8];

    make_peer(&peer, c);
    memset(text, 'x', sizeof(text));
    peer_format(&peer, text, PEER_TEXT);
    assert_string_equal(text, c->text);
    assert_int_equal(text[PEER_TEXT], 'x');
    /* In little room it is cut, and ends. */
    memset(text, 'x', sizeof(text));
    peer_format(&peer, text, 5);
    assert_int_equal(strlen(text), 4);
    assert_memory_equal(text, c->text, 4);
}

/* ---- who is one source ---- */

struct pair {
    const char *name;
    struct text one;
    struct text other;
    bool same;
};

#define IP(address, port)                                                                          \
    {                                                                                              \
        SOCKET_TCP, address, 0, port, NULL                                                         \
    }
#define USER(uid)                                                                                  \
    {                                                                                              \
        SOCKET_UNIX, NULL, uid, 0, NULL                                                            \
    }
#define VM(cid, port)                                                                              \
    {                                                                                              \
        SOCKET_VSOCK, NULL, cid, port, NULL                                                        \
    }

static const struct pair pairs[] = {
    {"two ports", IP("192.0.2.1", 1), IP("192.0.2.1", 2), true},
    {"two addresses", IP("192.0.2.1", 1), IP("192.0.2.2", 1), false},
    {"two addresses, the first byte", IP("192.0.2.1", 1), IP("193.0.2.1", 1), false},
    {"IPv4 on an IPv6 socket", IP("192.0.2.1", 1), IP("::ffff:192.0.2.1", 2), true},
    {"MPTCP and TCP", IP("192.0.2.1", 1), {SOCKET_MPTCP, "192.0.2.1", 0, 2, NULL}, true},
    {"one /64", IP("2001:db8:1:2::1", 1), IP("2001:db8:1:2:ffff:ffff:ffff:ffff", 2), true},
    {"two /64", IP("2001:db8:1:2::1", 1), IP("2001:db8:1:3::1", 1), false},
    {"two /64, the first bit", IP("2001:db8:1:2::1", 1), IP("a001:db8:1:2::1", 1), false},
    {"one user", USER(1000), USER(1000), true},
    {"two users", USER(1000), USER(1001), false},
    {"one virtual machine", VM(3, 1), VM(3, 2), true},
    {"two virtual machines", VM(3, 1), VM(4, 1), false},
    /* the same numbers, and yet not the same */
    {"::1 and 0.0.0.1", IP("::1", 1), IP("0.0.0.1", 1), false},
    {":: and 0.0.0.0", IP("::", 1), IP("0.0.0.0", 1), false},
    {"::1 and root", IP("::1", 1), USER(0), false},
    {"0.0.0.0 and root", IP("0.0.0.0", 1), USER(0), false},
    {"0.0.0.3 and the machine 3", IP("0.0.0.3", 1), VM(3, 1), false},
    {"the user 3 and the machine 3", USER(3), VM(3, 1), false},
    {"NAT64 and IPv4", IP("64:ff9b::192.0.2.1", 1), IP("192.0.2.1", 1), false},
    {"NAT64 and a user", IP("64:ff9b::1", 1), USER(0x64ff9b), false},
};

static void test_pair(void **state)
{
    const struct pair *c = *state;
    struct peer one;
    struct peer other;

    make_peer(&one, &c->one);
    make_peer(&other, &c->other);
    assert_int_equal(peer_source(&one) == peer_source(&other), c->same);
}

/* Thousands of them are kept: what must be said of one fits into so much. */
static void test_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct peer) <= 20);
}

/* A client that has left has no credentials any more: it is called something, and nothing breaks.
 */
static void test_unix_without_credentials(void **state)
{
    union peer_address address = {.any.sa_family = AF_UNIX};
    struct peer peer;
    char text[PEER_TEXT];

    (void)state;
    peer_set(&peer, -1, SOCKET_UNIX, &address);
    peer_format(&peer, text, sizeof(text));
    assert_string_equal(text, "unix:pid=0:uid=0");
}

int main(void)
{
    static struct suite suite;

    for (size_t i = 0; i < LENGTH(texts); i++)
        suite_add(&suite, test_text, &texts[i], "text: %s", texts[i].text);
    for (size_t i = 0; i < LENGTH(pairs); i++)
        suite_add(&suite, test_pair, &pairs[i], "source: %s", pairs[i].name);
    suite_add(&suite, test_small, NULL, "small");
    suite_add(&suite, test_unix_without_credentials, NULL, "unix: no credentials");
    return suite_run(&suite, "peer");
}
