// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

const (
	bitswap120 = protocol.ID("/ipfs/bitswap/1.2.0")
	bitswap110 = protocol.ID("/ipfs/bitswap/1.1.0")
	bitswap100 = protocol.ID("/ipfs/bitswap/1.0.0")
	bitswapOld = protocol.ID("/ipfs/bitswap")

	dialTimeout = 20 * time.Second
)

var keyTypes = map[string]int{
	"ed25519": crypto.Ed25519, "secp256k1": crypto.Secp256k1,
	"ecdsa": crypto.ECDSA, "rsa": crypto.RSA,
}

// hostFlags are those that every command has: how we secure the connection and who we are.
type hostFlags struct {
	security, key, listen string
}

func (f *hostFlags) add(set *flag.FlagSet) {
	set.StringVar(&f.security, "security", "noise",
		"noise, tls, or both as a go-libp2p node proposes them")
	set.StringVar(&f.key, "key", "ed25519", "identity: ed25519, secp256k1, ecdsa or rsa")
}

// open makes a host with a fresh identity that speaks TCP, the chosen security and yamux. The
// resource manager is off: the limits of the other side are what a test is about.
func (f *hostFlags) open() (host.Host, error) {
	kind, known := keyTypes[f.key]
	if !known {
		return nil, fmt.Errorf("no key type %q", f.key)
	}
	key, _, err := crypto.GenerateKeyPairWithReader(kind, 2048, rand.Reader)
	if err != nil {
		return nil, err
	}
	options := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ResourceManager(&network.NullResourceManager{}),
		libp2p.UserAgent("millrace-interop"),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(),
	}
	switch f.security {
	case "noise":
		options = append(options, libp2p.Security(noise.ID, noise.New))
	case "tls":
		options = append(options, libp2p.Security(libp2ptls.ID, libp2ptls.New))
	case "both":
		options = append(options, libp2p.Security(libp2ptls.ID, libp2ptls.New),
			libp2p.Security(noise.ID, noise.New))
	default:
		return nil, fmt.Errorf("no security protocol %q", f.security)
	}
	if f.listen == "" {
		options = append(options, libp2p.NoListenAddrs)
	} else {
		options = append(options, libp2p.ListenAddrStrings(f.listen))
	}
	return libp2p.New(options...)
}

// connect dials and waits for identify, as every go-libp2p application does.
func connect(h host.Host, to *peer.AddrInfo) error {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	return h.Connect(ctx, *to)
}

// openStream opens a stream for the first of these protocols that the peer speaks.
func openStream(h host.Host, to peer.ID, protocols ...protocol.ID) (network.Stream, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	return h.NewStream(ctx, to, protocols...)
}
