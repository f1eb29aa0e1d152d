// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ipfs/boxo/bitswap/message"
	pb "github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// oddServer answers every want from its store, in one odd way; the last three are not legal, and a
// client must live through them.
type oddServer struct {
	host   host.Host
	store  blockstore.Blockstore
	answer func(*oddServer, peer.ID, []message.Entry) error

	lock  sync.Mutex
	kept  map[peer.ID]network.Stream
	asked map[string]int
}

var oddServers = map[string]func(*oddServer, peer.ID, []message.Entry) error{
	"byte-by-byte":   (*oddServer).byteByByte,
	"one-stream":     (*oddServer).oneStream,
	"many-messages":  (*oddServer).manyMessages,
	"unknown-fields": (*oddServer).unknownFields,
	"twice":          (*oddServer).twice,
	"dont-have-once": (*oddServer).dontHaveOnce,
	"unasked-too":    (*oddServer).unaskedToo,
	"wrong-bytes":    (*oddServer).wrongBytes,
	"silent":         func(*oddServer, peer.ID, []message.Entry) error { return nil },
	"half-a-message": (*oddServer).halfAMessage,
}

func oddServerNames() string {
	var names []string
	for name := range oddServers {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func serveOddly(h host.Host, store blockstore.Blockstore, name string) error {
	answer, known := oddServers[name]
	if !known {
		return fmt.Errorf("--odd is one of %s", oddServerNames())
	}
	o := &oddServer{host: h, store: store, answer: answer,
		kept: map[peer.ID]network.Stream{}, asked: map[string]int{}}
	h.SetStreamHandler(bitswap120, o.receive)
	return nil
}

func (o *oddServer) receive(s network.Stream) {
	r := messageReader(s)
	for {
		m, _, err := message.FromMsgReader(r)
		if err != nil {
			s.Close()
			return
		}
		wanted := slices.DeleteFunc(m.Wantlist(), func(e message.Entry) bool { return e.Cancel })
		if len(wanted) == 0 {
			continue
		}
		if err := o.answer(o, s.Conn().RemotePeer(), wanted); err != nil {
			s.Reset()
			return
		}
	}
}

// reply is the plain answer to one want.
func (o *oddServer) reply(e message.Entry) *pb.Message {
	m := &pb.Message{Wantlist: &pb.Message_Wantlist{}}
	block, err := o.store.Get(context.Background(), e.Cid)
	switch {
	case err != nil:
		m.BlockPresences = []*pb.Message_BlockPresence{
			{Cid: e.Cid.Bytes(), Type: pb.Message_DontHave}}
	case e.WantType == pb.Message_Wantlist_Have:
		m.BlockPresences = []*pb.Message_BlockPresence{
			{Cid: e.Cid.Bytes(), Type: pb.Message_Have}}
	default:
		m.Payload = []*pb.Message_Block{payload(e.Cid, block.RawData())}
	}
	return m
}

func payload(c cid.Cid, data []byte) *pb.Message_Block {
	return &pb.Message_Block{Prefix: c.Prefix().Bytes(), Data: data}
}

func encoded(m *pb.Message) []byte {
	out, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return out
}

// write sends these bytes on a new stream, in pieces of at most so many, and closes it.
func (o *oddServer) write(to peer.ID, bytes []byte, piece int) error {
	s, err := openStream(o.host, to, bitswap120)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(bytes, piece) {
		if _, err := s.Write(part); err != nil {
			return err
		}
	}
	return s.Close()
}

func (o *oddServer) byteByByte(to peer.ID, wanted []message.Entry) error {
	for _, e := range wanted {
		if err := o.write(to, framed(encoded(o.reply(e))), 1); err != nil {
			return err
		}
	}
	return nil
}

// All answers to a peer, for as long as it is connected, on one stream.
func (o *oddServer) oneStream(to peer.ID, wanted []message.Entry) error {
	o.lock.Lock()
	defer o.lock.Unlock()
	s := o.kept[to]
	if s == nil || s.Conn().IsClosed() {
		var err error
		if s, err = openStream(o.host, to, bitswap120); err != nil {
			return err
		}
		o.kept[to] = s
	}
	for _, e := range wanted {
		if _, err := s.Write(framed(encoded(o.reply(e)))); err != nil {
			return err
		}
	}
	return nil
}

func (o *oddServer) manyMessages(to peer.ID, wanted []message.Entry) error {
	var all []byte
	for _, e := range wanted {
		all = append(all, 0) // a message of no bytes
		all = append(all, framed(encoded(o.reply(e)))...)
	}
	return o.write(to, all, len(all))
}

func (o *oddServer) unknownFields(to peer.ID, wanted []message.Entry) error {
	for _, e := range wanted {
		bytes := append(unknownFields(), encoded(o.reply(e))...)
		bytes = append(bytes, unknownFields()...)
		if err := o.write(to, framed(bytes), len(bytes)+8); err != nil {
			return err
		}
	}
	return nil
}

func (o *oddServer) twice(to peer.ID, wanted []message.Entry) error {
	if err := o.manyMessages(to, wanted); err != nil {
		return err
	}
	return o.manyMessages(to, wanted)
}

// The first want for a block is denied, the next is served.
func (o *oddServer) dontHaveOnce(to peer.ID, wanted []message.Entry) error {
	for _, e := range wanted {
		o.lock.Lock()
		o.asked[e.Cid.KeyString()]++
		first := o.asked[e.Cid.KeyString()] == 1
		o.lock.Unlock()
		m := o.reply(e)
		if first {
			m.Payload = nil
			m.BlockPresences = []*pb.Message_BlockPresence{
				{Cid: e.Cid.Bytes(), Type: pb.Message_DontHave}}
		}
		bytes := framed(encoded(m))
		if err := o.write(to, bytes, len(bytes)); err != nil {
			return err
		}
	}
	return nil
}

func (o *oddServer) unaskedToo(to peer.ID, wanted []message.Entry) error {
	for i, e := range wanted {
		data := fmt.Appendf(nil, "nobody asked for this: %d", i)
		m := o.reply(e)
		m.Payload = append([]*pb.Message_Block{payload(rawCid(data), data)}, m.Payload...)
		bytes := framed(encoded(m))
		if err := o.write(to, bytes, len(bytes)); err != nil {
			return err
		}
	}
	return nil
}

// Bytes that are not the block: what arrives is a block that nobody wanted.
func (o *oddServer) wrongBytes(to peer.ID, wanted []message.Entry) error {
	for _, e := range wanted {
		m := o.reply(e)
		for _, b := range m.Payload {
			b.Data = slices.Clone(b.Data)
			if len(b.Data) > 0 {
				b.Data[0] ^= 1
			}
		}
		bytes := framed(encoded(m))
		if err := o.write(to, bytes, len(bytes)); err != nil {
			return err
		}
	}
	return nil
}

// A length, half of what it promises, and the end of the stream.
func (o *oddServer) halfAMessage(to peer.ID, wanted []message.Entry) error {
	for _, e := range wanted {
		body := encoded(o.reply(e))
		bytes := protowire.AppendVarint(nil, uint64(len(body)))
		bytes = append(bytes, body[:len(body)/2]...)
		if err := o.write(to, bytes, len(bytes)); err != nil {
			return err
		}
	}
	return nil
}
