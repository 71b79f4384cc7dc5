/* SPDX-License-Identifier: MIT */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* What a socket can do. Only the first two know a reset. */
enum socket_kind {
    SOCKET_TCP,   /* over IPv4 or IPv6 */
    SOCKET_MPTCP, /* no SO_MAX_PACING_RATE */
    SOCKET_UNIX,  /* SIOCOUTQ counts memory, not bytes: 0 is exact, the rest an upper bound */
    SOCKET_VSOCK, /* SIOCOUTQ from Linux 6.11 on */
};

/* struct sockaddr_vm, vsock(7), without <linux/vm_sockets.h>, which musl has not. */
struct peer_vsock_address {
    sa_family_t family;
    unsigned short reserved;
    uint32_t port;
    uint32_t cid;
};

/* Room for what accept4(2) and getpeername(2) say. */
union peer_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct peer_vsock_address vsock;
    struct sockaddr_storage room; /* for the path of a UNIX socket, too */
};

/* Who is at the other end, as small as it can be kept: one process may have thousands of them. */
struct peer {
    uint8_t kind;    /* enum socket_kind; of MPTCP, that of TCP */
    uint8_t is_ipv4; /* 0 or 1 */
    uint16_t port;
    union {
        uint8_t internet[16]; /* IPv4 in its first four bytes; network byte order */
        struct {
            int32_t pid; /* 0 where the process is of another PID namespace */
            uint32_t uid;
        } unix_peer;
        struct {
            uint32_t cid;
            uint32_t port;
        } vsock;
    } at;
};

/* "[" IPv6 "]:" port is the longest. */
#define PEER_TEXT 72

/* address is that of the peer of fd; a UNIX socket is asked for its SO_PEERCRED, unix(7). */
void peer_set(struct peer *peer, int fd, enum socket_kind kind, const union peer_address *address)
    __attribute__((nonnull));

/* 192.0.2.1:4000, [2001:db8::1]:4000, unix:pid=1:uid=0, vsock:3:4000; an IPv4 address that came
 * over an IPv6 socket is written as IPv4. size is that of text. */
void peer_format(const struct peer *peer, char *text, size_t size) __attribute__((nonnull));

/*
 * What counts as one source: an IPv4 address, an IPv6 /64 (what one subscriber has, so that any
 * longer prefix would count nobody twice), a user, a virtual machine. Equal for equal sources, and
 * for no others.
 */
uint64_t peer_source(const struct peer *peer) __attribute__((nonnull));
