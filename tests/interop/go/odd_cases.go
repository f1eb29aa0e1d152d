// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	pb "github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/multiformats/go-multihash"
	"github.com/multiformats/go-multistream"
)

var oddCases = []oddCase{
	{"plain", func(p *oddPeer) error { return p.ask(wants(p.list[0]), p.list[0]) }},
	{"unknown fields", oddUnknownFields},
	{"byte by byte", oddByteByByte},
	{"window filled", oddWindowFilled},
	{"priorities", oddPriorities},
	{"eager", oddEager},
	{"eager byte by byte", oddEagerByteByByte},
	{"refused proposal first", oddRefusedFirst},
	{"many messages in a write", oddManyMessages},
	{"a stream each", oddStreamEach},
	{"half closed", oddHalfClosed},
	{"full replaces", oddFull},
	{"cancels", oddCancels},
	{"duplicates", oddDuplicates},
	{"empty messages", oddEmpty},
	{"have then block", oddHaveThenBlock},
	{"forms of a cid", oddForms},
	{"odd cids beside good ones", oddCids},
	{"dont have only if asked", oddDontHave},
	{"only /ipfs/bitswap/1.1.0", oddOnly},
	{"only /ipfs/bitswap/1.0.0", oddOnly},
	{"only /ipfs/bitswap", oddOnly},
	{"unread replies", oddUnread},
}

func oddUnknownFields(p *oddPeer) error {
	e := want(p.list[0])
	e.more = unknownFields()
	message := append(unknownFields(), wantlist(false, unknownFields(), e)...)
	return p.ask(append(message, unknownFields()...), p.list[0])
}

func oddByteByByte(p *oddPeer) error {
	s, err := p.stream()
	if err != nil {
		return err
	}
	for _, b := range framed(wants(p.list[:4]...)) {
		if _, err := s.Write([]byte{b}); err != nil {
			return err
		}
	}
	return p.expect(p.list[:4]...)
}

// Two messages, each of which ends exactly where the receive window of the stream does.
func oddWindowFilled(p *oddPeer) error {
	s, err := p.stream()
	if err != nil {
		return err
	}
	size := windowBytes - lazyTokenBytes
	for i := range 2 {
		message, err := padded(wants(p.list[i]), size)
		if err != nil {
			return err
		}
		if _, err := s.Write(message); err != nil {
			return err
		}
		if err := p.expect(p.list[i]); err != nil {
			return err
		}
		size = windowBytes
	}
	return nil
}

func oddPriorities(p *oddPeer) error {
	var entries []entry
	for i, priority := range []int32{0, -1, math.MinInt32, math.MaxInt32, 1, 1} {
		e := want(p.list[i])
		e.priority = priority
		entries = append(entries, e)
	}
	return p.ask(wantlist(false, nil, entries...), p.list[:len(entries)]...)
}

// rawStream is a stream on which nothing was negotiated.
func (p *oddPeer) rawStream() (network.Stream, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	return p.host.Network().NewStream(ctx, p.to)
}

func oddEager(p *oddPeer) error {
	s, err := p.rawStream()
	if err != nil {
		return err
	}
	if err := multistream.SelectProtoOrFail(bitswap120, s); err != nil {
		return err
	}
	if _, err := s.Write(framed(wants(p.list[0]))); err != nil {
		return err
	}
	return p.expect(p.list[0])
}

const multistreamHeader = "\x13/multistream/1.0.0\n"

func token(name string) string {
	return string(rune(len(name)+1)) + name + "\n"
}

func oddEagerByteByByte(p *oddPeer) error {
	s, err := p.rawStream()
	if err != nil {
		return err
	}
	bytes := append([]byte(multistreamHeader+token(string(bitswap120))),
		framed(wants(p.list[0]))...)
	for _, b := range bytes {
		if _, err := s.Write([]byte{b}); err != nil {
			return err
		}
	}
	return p.expect(p.list[0])
}

func oddRefusedFirst(p *oddPeer) error {
	s, err := p.rawStream()
	if err != nil {
		return err
	}
	unknown := []protocol.ID{"/nonexistent/1.0.0", "/nowhere/spoken/1.0.0", bitswap120}
	chosen, err := multistream.SelectOneOf(unknown, s)
	if err != nil {
		return err
	}
	if chosen != bitswap120 {
		return fmt.Errorf("it speaks %s", chosen)
	}
	if _, err := s.Write(framed(wants(p.list[0]))); err != nil {
		return err
	}
	return p.expect(p.list[0])
}

func oddManyMessages(p *oddPeer) error {
	var all []byte
	for _, c := range p.list {
		all = append(all, framed(wants(c))...)
	}
	if _, err := p.send(all); err != nil {
		return err
	}
	return p.expect(p.list...)
}

func oddStreamEach(p *oddPeer) error {
	for _, c := range p.list {
		s, err := p.send(framed(wants(c)))
		if err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return p.expect(p.list...)
}

func oddHalfClosed(p *oddPeer) error {
	s, err := p.send(framed(wants(p.list[0])))
	if err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return err
	}
	return p.expect(p.list[0])
}

// A full list takes the place of the one before: what it leaves out is no longer wanted.
func oddFull(p *oddPeer) error {
	s, err := p.send(framed(wantlist(true, nil, entry{key: absent("a").KeyString()},
		entry{key: absent("b").KeyString()})))
	if err != nil {
		return err
	}
	if _, err := s.Write(framed(wantlist(true, nil, want(p.list[0]), want(p.list[1])))); err != nil {
		return err
	}
	if err := p.expect(p.list[:2]...); err != nil {
		return err
	}
	if _, err := s.Write(framed(wantlist(true, nil))); err != nil {
		return err
	}
	if _, err := s.Write(framed(wants(p.list[2]))); err != nil {
		return err
	}
	return p.expect(p.list[2])
}

func oddCancels(p *oddPeer) error {
	cancel := func(c cid.Cid) entry { return entry{key: c.KeyString(), cancel: true} }
	s, err := p.send(framed(wantlist(false, nil, cancel(absent("never wanted")),
		entry{key: absent("c").KeyString(), priority: 3})))
	if err != nil {
		return err
	}
	for _, m := range [][]byte{
		wantlist(false, nil, cancel(absent("c")), cancel(p.list[3])),
		wants(p.list[3]),
	} {
		if _, err := s.Write(framed(m)); err != nil {
			return err
		}
	}
	return p.expect(p.list[3])
}

// A CID wanted twice in one message, once as HAVE and once as block, is answered with the block.
func oddDuplicates(p *oddPeer) error {
	have := want(p.list[0])
	have.have = true
	if err := p.ask(wantlist(false, nil, have, want(p.list[0]), have), p.list[0]); err != nil {
		return err
	}
	return p.ask(wants(p.list[0]), p.list[0]) // again: what was served may be asked for again
}

func oddEmpty(p *oddPeer) error {
	all := []byte{0}
	for _, m := range [][]byte{{0x0a, 0}, {0x28, 0}, unknownFields(), wants(p.list[0])} {
		all = append(all, framed(m)...)
	}
	if _, err := p.send(all); err != nil {
		return err
	}
	return p.expect(p.list[0])
}

func oddHaveThenBlock(p *oddPeer) error {
	have := want(p.list[0])
	have.have = true
	s, err := p.send(framed(wantlist(false, nil, have)))
	if err != nil {
		return err
	}
	if err := p.expectHave(p.list[0]); err != nil {
		return err
	}
	if _, err := s.Write(framed(wants(p.list[0]))); err != nil {
		return err
	}
	return p.expect(p.list[0])
}

// expectHave takes the block itself as a yes: small ones are sent at once.
func (p *oddPeer) expectHave(c cid.Cid) error {
	timeout := time.After(answerTimeout)
	for {
		select {
		case r := <-p.replies:
			for _, b := range r.message.GetPayload() {
				if key, _ := keyOf(b); key == c.KeyString() {
					return nil
				}
			}
			for _, said := range r.message.GetBlockPresences() {
				if string(said.GetCid()) == c.KeyString() {
					if said.GetType() == pb.Message_Have {
						return nil
					}
					return errors.New("DONT_HAVE for a block that is there")
				}
			}
		case <-timeout:
			return errors.New("no HAVE came")
		}
	}
}

// The answer repeats the version and codec that were asked with.
func oddForms(p *oddPeer) error {
	for _, codec := range []uint64{cid.Raw, cid.DagProtobuf, cid.DagCBOR, 0} {
		c := withForm(p.list[0], codec)
		if err := p.ask(wants(c), c); err != nil {
			return fmt.Errorf("codec %#x: %w", codec, err)
		}
	}
	return nil
}

// What nobody could have is answered with DONT_HAVE or not at all; what stands beside it is served.
func oddCids(p *oddPeer) error {
	digest := make([]byte, 32)
	unknownHash, err := multihash.Encode(digest, 0x1052)
	if err != nil {
		unknownHash, err = multihash.Encode(digest, multihash.MURMUR3X64_64)
	}
	if err != nil {
		return err
	}
	identity, err := multihash.Encode([]byte("carried in the CID"), multihash.IDENTITY)
	if err != nil {
		return err
	}
	long, err := multihash.Encode(make([]byte, 300), multihash.IDENTITY)
	if err != nil {
		return err
	}
	var entries []entry
	for _, hash := range []multihash.Multihash{unknownHash, identity, long} {
		entries = append(entries, entry{key: cid.NewCidV1(cid.Raw, hash).KeyString(), priority: 9})
	}
	entries = append(entries, want(p.list[0]))
	return p.ask(wantlist(false, nil, entries...), p.list[0])
}

func oddDontHave(p *oddPeer) error {
	quiet, loud := absent("quiet"), absent("loud")
	if _, err := p.send(framed(wantlist(false, nil, entry{key: quiet.KeyString(), priority: 2},
		entry{key: loud.KeyString(), priority: 1, dontHave: true}))); err != nil {
		return err
	}
	if err := p.expectPresence(loud, pb.Message_DontHave); err != nil {
		return err
	}
	return p.ask(wants(p.list[0]), p.list[0])
}

// While more bytes are owed than windows can hold and none is read, a ping is still answered; then
// everything comes.
func oddUnread(p *oddPeer) error {
	if _, err := p.send(framed(wants(p.list...))); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	for range 5 {
		result := <-ping.Ping(ctx, p.host, p.to)
		if result.Error != nil {
			return fmt.Errorf("ping: %w", result.Error)
		}
	}
	close(p.readReplies)
	return p.expect(p.list...)
}

// A peer that speaks only an older version asks on it and is answered on it; 1.0.0 and the bare
// name carry blocks without a prefix.
func oddOnly(p *oddPeer) error {
	var speaks protocol.ID
	for _, name := range p.host.Mux().Protocols() {
		switch name {
		case bitswap110, bitswap100, bitswapOld:
			speaks = name
		}
	}
	s, err := p.stream(speaks)
	if err != nil {
		return err
	}
	c := p.list[0]
	if speaks != bitswap110 {
		c = withForm(c, 0)
	}
	e := want(c)
	e.dontHave = false
	if _, err := s.Write(framed(wantlist(false, nil, e))); err != nil {
		return err
	}
	select {
	case r := <-p.replies:
		if r.protocol != speaks {
			return fmt.Errorf("answered on %s", r.protocol)
		}
		return blockOf(r.message, c, speaks != bitswap110)
	case <-time.After(answerTimeout):
		return errors.New("no answer")
	}
}

func blockOf(m *pb.Message, c cid.Cid, bare bool) error {
	if bare {
		if len(m.GetBlocks()) != 1 || string(hashOf(m.GetBlocks()[0])) != string(c.Hash()) {
			return errors.New("not the block, in the field that 1.0.0 has for it")
		}
		return nil
	}
	if len(m.GetPayload()) == 1 {
		if key, err := keyOf(m.GetPayload()[0]); err == nil && key == c.KeyString() {
			return nil
		}
	}
	return errors.New("not the block")
}
