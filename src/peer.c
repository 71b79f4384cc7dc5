/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

/*
 * Where sources that are no IPv6 network lie among the 64 bits of those that are: in 0000::/8,
 * which holds no network, RFC 4291.
 */
#define SOURCE_IPV4  (UINT64_C(1) << 32)
#define SOURCE_UNIX  (UINT64_C(2) << 32)
#define SOURCE_VSOCK (UINT64_C(3) << 32)

static void set_internet(struct peer *peer, const union peer_address *address)
{
    const struct in6_addr *in6 = &address->in6.sin6_addr;

    peer->kind = SOCKET_TCP;
    if (address->any.sa_family == AF_INET) {
        peer->is_ipv4 = true;
        peer->port = ntohs(address->in.sin_port);
        memcpy(peer->at.internet, &address->in.sin_addr, 4);
        return;
    }
    peer->port = ntohs(address->in6.sin6_port);
    peer->is_ipv4 = IN6_IS_ADDR_V4MAPPED(in6);
    if (peer->is_ipv4)
        memcpy(peer->at.internet, &in6->s6_addr[12], 4);
    else
        memcpy(peer->at.internet, in6, 16);
}

void peer_set(struct peer *peer, int fd, enum socket_kind kind, const union peer_address *address)
{
    struct ucred who = {.pid = 0};
    socklen_t size = sizeof(who);

    *peer = (struct peer){.kind = (uint8_t)kind};
    if (kind == SOCKET_UNIX) {
        (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size); /* for people only */
        peer->at.unix_peer.pid = who.pid;
        peer->at.unix_peer.uid = who.uid;
    } else if (kind == SOCKET_VSOCK) {
        peer->at.vsock.cid = address->vsock.cid;
        peer->at.vsock.port = address->vsock.port;
    } else {
        set_internet(peer, address);
    }
}

void peer_format(const struct peer *peer, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (peer->kind == SOCKET_UNIX) {
        (void)snprintf(
            text, size, "unix:pid=%d:uid=%u", peer->at.unix_peer.pid, peer->at.unix_peer.uid);
    } else if (peer->kind == SOCKET_VSOCK) {
        (void)snprintf(text, size, "vsock:%u:%u", peer->at.vsock.cid, peer->at.vsock.port);
    } else {
        (void)inet_ntop(peer->is_ipv4 ? AF_INET : AF_INET6, peer->at.internet, host, sizeof(host));
        (void)snprintf(text, size, peer->is_ipv4 ? "%s:%u" : "[%s]:%u", host, peer->port);
    }
}

uint64_t peer_source(const struct peer *peer)
{
    uint32_t address;
    uint64_t network;

    if (peer->kind == SOCKET_UNIX)
        return SOURCE_UNIX | peer->at.unix_peer.uid;
    if (peer->kind == SOCKET_VSOCK)
        return SOURCE_VSOCK | peer->at.vsock.cid;
    memcpy(&address, peer->at.internet, sizeof(address));
    memcpy(&network, peer->at.internet, sizeof(network));
    return peer->is_ipv4 ? SOURCE_IPV4 | ntohl(address) : be64toh(network);
}
