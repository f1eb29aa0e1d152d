// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"github.com/ipfs/boxo/bitswap"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/boxo/blockstore"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

type serveReady struct {
	Id     string   `json:"id"`
	Addrs  []string `json:"addrs"`
	Blocks int      `json:"blocks"`
}

func fullAddresses(h host.Host) ([]string, error) {
	found, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()})
	var out []string
	for _, a := range found {
		out = append(out, a.String())
	}
	return out, err
}

func say(what any) error {
	return json.NewEncoder(os.Stdout).Encode(what)
}

// runServe is boxo's own Bitswap over blocks in memory. It says where it listens as soon as it
// does. Lines on stdin: 'stat', 'get CID' (through boxo's client, from whoever is connected),
// 'connect MULTIADDR', 'close' (every connection); it ends where stdin does.
func runServe(arguments []string) (any, error) {
	set := flag.NewFlagSet("serve", flag.ExitOnError)
	var hosts hostFlags
	var content contentFlags
	hosts.add(set)
	content.add(set)
	set.StringVar(&hosts.listen, "listen", "/ip4/127.0.0.1/tcp/0", "where to listen")
	behaviour := set.String("odd", "", "answer in a legal but odd way: "+oddServerNames())
	_ = set.Parse(arguments)
	h, err := hosts.open()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	store := blockstore.NewBlockstore(dssync.MutexWrap(datastore.NewMapDatastore()))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ready := serveReady{Id: h.ID().String()}
	err = content.each(func(b blocks.Block) error {
		ready.Blocks++
		return store.Put(ctx, b)
	})
	if err != nil && (content.seed != "" || content.car != "") {
		return nil, err
	}
	var exchange *bitswap.Bitswap
	if *behaviour != "" {
		if err := serveOddly(h, store, *behaviour); err != nil {
			return nil, err
		}
	} else {
		network := bsnet.NewFromIpfsHost(h)
		exchange = bitswap.New(ctx, network, nil, store)
		network.Start(exchange)
		defer exchange.Close()
	}
	if ready.Addrs, err = fullAddresses(h); err != nil {
		return nil, err
	}
	if err := say(&ready); err != nil {
		return nil, err
	}
	return nil, obey(ctx, h, exchange)
}

func obey(ctx context.Context, h host.Host, exchange *bitswap.Bitswap) error {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var word, rest string
		fmt.Sscan(lines.Text(), &word, &rest)
		said := map[string]any{"did": word}
		var err error
		switch word {
		case "stat":
			said["peers"] = len(h.Network().Peers())
			if exchange != nil {
				var s *bitswap.Stat
				if s, err = exchange.Stat(); err == nil {
					said["sent"], said["received"] = s.BlocksSent, s.BlocksReceived
					said["duplicates"] = s.DupBlksReceived
				}
			}
		case "connect":
			var to *peer.AddrInfo
			if to, err = peer.AddrInfoFromString(rest); err == nil {
				err = connect(h, to)
			}
		case "get":
			err = getOne(ctx, exchange, rest, said)
		case "close":
			for _, p := range h.Network().Peers() {
				h.Network().ClosePeer(p)
			}
		default:
			err = fmt.Errorf("no command %q", word)
		}
		if err != nil {
			said["error"] = err.Error()
		}
		if err := say(said); err != nil {
			return err
		}
	}
	return lines.Err()
}

func getOne(ctx context.Context, exchange *bitswap.Bitswap, text string, said map[string]any) error {
	if exchange == nil {
		return fmt.Errorf("not with --odd")
	}
	c, err := cid.Decode(text)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	b, err := exchange.GetBlock(ctx, c)
	if err == nil {
		said["bytes"] = len(b.RawData())
	}
	return err
}
