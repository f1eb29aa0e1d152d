// SPDX-License-Identifier: MIT

package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	pb "github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multihash"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const (
	answerTimeout  = 10 * time.Second
	windowBytes    = 256 << 10
	lazyTokenBytes = 20 + 21 // multistream's header and the name of bitswap 1.2.0
	blocksNeeded   = 8
)

// oddCase asks in a way that is legal and seldom seen; it returns nil where it was answered as it
// should be.
type oddCase struct {
	name string
	run  func(*oddPeer) error
}

type oddResult struct {
	Case    string  `json:"case"`
	Ok      bool    `json:"ok"`
	Why     string  `json:"why,omitempty"`
	Seconds float64 `json:"seconds"`
}

// reply is a message as it came, and the protocol of the stream it came on.
type reply struct {
	message  *pb.Message
	protocol protocol.ID
}

// oddPeer is one connection of one host. It reads no reply before readReplies is closed.
type oddPeer struct {
	host        host.Host
	to          peer.ID
	list        []cid.Cid
	replies     chan reply
	readReplies chan struct{}
}

func runOdd(arguments []string) (any, error) {
	set := flag.NewFlagSet("odd", flag.ExitOnError)
	var hosts hostFlags
	var content contentFlags
	hosts.add(set)
	content.add(set)
	where := set.String("to", "", "the server: multiaddr ending in /p2p/ID")
	only := set.String("case", "", "one case, or several with commas; nothing: all")
	_ = set.Parse(arguments)
	to, err := peer.AddrInfoFromString(*where)
	if err != nil {
		return nil, fmt.Errorf("--to: %w", err)
	}
	list, err := content.list()
	if err != nil {
		return nil, err
	}
	if len(list) < blocksNeeded {
		return nil, fmt.Errorf("at least %d blocks are needed", blocksNeeded)
	}
	var out []oddResult
	failed := 0
	for _, c := range oddCases {
		if *only != "" && !strings.Contains(","+*only+",", ","+c.name+",") {
			continue
		}
		began := time.Now()
		err := runOddCase(&hosts, to, list, c)
		one := oddResult{Case: c.name, Ok: err == nil, Seconds: time.Since(began).Seconds()}
		if err != nil {
			one.Why = err.Error()
			failed++
		}
		out = append(out, one)
	}
	if failed > 0 {
		return out, fmt.Errorf("%d of %d cases failed", failed, len(out))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no case %q", *only)
	}
	return out, nil
}

func runOddCase(hosts *hostFlags, to *peer.AddrInfo, list []cid.Cid, c oddCase) error {
	h, err := hosts.open()
	if err != nil {
		return err
	}
	defer h.Close()
	p := &oddPeer{
		host: h, to: to.ID, list: list,
		replies:     make(chan reply, 4096),
		readReplies: make(chan struct{}),
	}
	speaks := []protocol.ID{bitswap120, bitswap110, bitswap100, bitswapOld}
	if old, is := strings.CutPrefix(c.name, "only "); is {
		speaks = []protocol.ID{protocol.ID(old)}
	}
	for _, s := range speaks {
		h.SetStreamHandler(s, p.receive)
	}
	if !strings.HasPrefix(c.name, "unread ") {
		close(p.readReplies)
	}
	if err := connect(h, to); err != nil {
		return err
	}
	return c.run(p)
}

func (p *oddPeer) receive(s network.Stream) {
	<-p.readReplies
	r := messageReader(s)
	for {
		whole, err := r.ReadMsg()
		if err != nil {
			s.Close()
			return
		}
		m := &pb.Message{}
		err = proto.Unmarshal(whole, m)
		r.ReleaseMsg(whole)
		if err != nil {
			s.Reset()
			return
		}
		p.replies <- reply{m, s.Protocol()}
	}
}

// keyOf is the CID that a payload's prefix and data amount to.
func keyOf(b *pb.Message_Block) (string, error) {
	prefix, err := cid.PrefixFromBytes(b.GetPrefix())
	if err != nil {
		return "", err
	}
	c, err := prefix.Sum(b.GetData())
	return c.KeyString(), err
}

// expect waits until each of these was answered with its block; a second copy, and a block nobody
// asked for, are errors.
func (p *oddPeer) expect(wanted ...cid.Cid) error {
	owed := map[string]cid.Cid{}
	for _, c := range wanted {
		owed[c.KeyString()] = c
	}
	timeout := time.After(answerTimeout)
	for len(owed) > 0 {
		select {
		case r := <-p.replies:
			for _, b := range r.message.GetPayload() {
				key, err := keyOf(b)
				if err != nil {
					return err
				}
				if _, there := owed[key]; !there {
					return fmt.Errorf("a block of prefix %x that is not owed", b.GetPrefix())
				}
				delete(owed, key)
			}
			for _, absent := range r.message.GetBlockPresences() {
				_, there := owed[string(absent.GetCid())]
				if there && absent.GetType() == pb.Message_DontHave {
					return errors.New("DONT_HAVE for a block that is there")
				}
			}
		case <-timeout:
			return fmt.Errorf("%d of %d blocks never came", len(owed), len(wanted))
		}
	}
	return nil
}

// expectPresence waits for HAVE or DONT_HAVE of one CID.
func (p *oddPeer) expectPresence(c cid.Cid, kind pb.Message_BlockPresenceType) error {
	timeout := time.After(answerTimeout)
	for {
		select {
		case r := <-p.replies:
			for _, said := range r.message.GetBlockPresences() {
				if string(said.GetCid()) != c.KeyString() {
					continue
				}
				if said.GetType() != kind {
					return fmt.Errorf("%s, not %s", said.GetType(), kind)
				}
				return nil
			}
		case <-timeout:
			return fmt.Errorf("no %s came", kind)
		}
	}
}

func (p *oddPeer) stream(protocols ...protocol.ID) (network.Stream, error) {
	if len(protocols) == 0 {
		protocols = []protocol.ID{bitswap120}
	}
	return openStream(p.host, p.to, protocols...)
}

// send opens a stream, writes what is given in one go, and leaves the stream open.
func (p *oddPeer) send(message []byte) (network.Stream, error) {
	s, err := p.stream()
	if err != nil {
		return nil, err
	}
	_, err = s.Write(message)
	return s, err
}

// ask sends one message on a stream of its own and expects these blocks.
func (p *oddPeer) ask(message []byte, wanted ...cid.Cid) error {
	if _, err := p.send(framed(message)); err != nil {
		return err
	}
	return p.expect(wanted...)
}

// entry is one want, as plain as it gets, then whatever else the case wants in it.
type entry struct {
	key      string
	priority int32
	cancel   bool
	have     bool
	dontHave bool
	more     []byte
}

func (e entry) append(b []byte) []byte {
	in := protowire.AppendTag(nil, 1, protowire.BytesType)
	in = protowire.AppendString(in, e.key)
	if e.priority != 0 {
		in = protowire.AppendTag(in, 2, protowire.VarintType)
		in = protowire.AppendVarint(in, uint64(int64(e.priority)))
	}
	for field, set := range map[protowire.Number]bool{3: e.cancel, 4: e.have, 5: e.dontHave} {
		if set {
			in = protowire.AppendTag(in, field, protowire.VarintType)
			in = protowire.AppendVarint(in, 1)
		}
	}
	in = append(in, e.more...)
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	return protowire.AppendBytes(b, in)
}

func wantlist(full bool, more []byte, entries ...entry) []byte {
	var in []byte
	for _, e := range entries {
		in = e.append(in)
	}
	if full {
		in = append(in, 2<<3, 1)
	}
	in = append(in, more...)
	out := protowire.AppendTag(nil, 1, protowire.BytesType)
	return protowire.AppendBytes(out, in)
}

func want(c cid.Cid) entry {
	return entry{key: c.KeyString(), priority: 1, dontHave: true}
}

func wants(list ...cid.Cid) []byte {
	var entries []entry
	for _, c := range list {
		entries = append(entries, want(c))
	}
	return wantlist(false, nil, entries...)
}

// unknownFields is one field of every wire type that no message has.
func unknownFields() []byte {
	b := protowire.AppendTag(nil, 100, protowire.VarintType)
	b = protowire.AppendVarint(b, 1<<63)
	b = protowire.AppendTag(b, 101, protowire.Fixed32Type)
	b = protowire.AppendFixed32(b, 7)
	b = protowire.AppendTag(b, 102, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, 7)
	b = protowire.AppendTag(b, 536870911, protowire.BytesType)
	return protowire.AppendString(b, "nobody knows this")
}

// padded makes the framed message exactly so long, by a field that no message has.
func padded(message []byte, total int) ([]byte, error) {
	for filler := total; filler > 0; filler-- {
		body := protowire.AppendTag(message[:len(message):len(message)], 99, protowire.BytesType)
		body = protowire.AppendBytes(body, make([]byte, filler))
		if out := framed(body); len(out) == total {
			return out, nil
		} else if len(out) < total {
			break
		}
	}
	return nil, fmt.Errorf("no padding makes it %d bytes", total)
}

func absent(name string) cid.Cid {
	return rawCid([]byte("nobody has " + name))
}

// withForm is the same bytes under another codec, or as version 0.
func withForm(c cid.Cid, codec uint64) cid.Cid {
	if codec == 0 {
		return cid.NewCidV0(c.Hash())
	}
	return cid.NewCidV1(codec, c.Hash())
}

func hashOf(data []byte) multihash.Multihash {
	digest := sha256.Sum256(data)
	out, err := multihash.Encode(digest[:], multihash.SHA2_256)
	if err != nil {
		panic(err)
	}
	return out
}
