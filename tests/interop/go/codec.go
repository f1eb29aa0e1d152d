// SPDX-License-Identifier: MIT

package main

import (
	"crypto/sha256"
	"errors"
	"io"

	"github.com/ipfs/boxo/bitswap/message"
	pb "github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-msgio"
	"github.com/multiformats/go-varint"
	"google.golang.org/protobuf/encoding/protowire"
)

// answer is what one message says of one CID; key is the binary CID, computed from the bytes where
// there are any.
type answer struct {
	key   []byte
	bytes int
	kind  answerKind
}

type answerKind int

const (
	gotBlock answerKind = iota
	gotHave
	gotDontHave
)

// codec turns wants into a message and a message into answers. There are two: boxo's, which is what
// Kubo runs and refuses what Kubo would refuse, and a lean one that copies nothing, for measuring
// the server and not ourselves.
type codec interface {
	write(w io.Writer, wants []cid.Cid, kind pb.Message_Wantlist_WantType, priority int32) error
	read(r msgio.Reader, visit func(answer)) error
}

func codecNamed(name string) (codec, error) {
	switch name {
	case "boxo":
		return boxoCodec{}, nil
	case "lean":
		return &leanCodec{}, nil
	}
	return nil, errors.New("--codec is boxo or lean")
}

func messageReader(s network.Stream) msgio.ReadCloser {
	return msgio.NewVarintReaderSize(s, network.MessageSizeMax)
}

type boxoCodec struct{}

func (boxoCodec) write(w io.Writer, wants []cid.Cid, kind pb.Message_Wantlist_WantType,
	priority int32) error {
	m := message.New(false)
	for _, c := range wants {
		m.AddEntry(c, priority, kind, true)
		priority--
	}
	return m.ToNetV1(w)
}

func (boxoCodec) read(r msgio.Reader, visit func(answer)) error {
	m, _, err := message.FromMsgReader(r)
	if err != nil {
		return err
	}
	for _, b := range m.Blocks() {
		visit(answer{b.Cid().Bytes(), len(b.RawData()), gotBlock})
	}
	for _, c := range m.Haves() {
		visit(answer{c.Bytes(), 0, gotHave})
	}
	for _, c := range m.DontHaves() {
		visit(answer{c.Bytes(), 0, gotDontHave})
	}
	return nil
}

// Each of these is used by one writer at a time; reading keeps no state.
type leanCodec struct {
	entries, out []byte
}

func (l *leanCodec) write(w io.Writer, wants []cid.Cid, kind pb.Message_Wantlist_WantType,
	priority int32) error {
	l.entries = l.entries[:0]
	for _, c := range wants {
		key := c.KeyString()
		length := 1 + protowire.SizeBytes(len(key)) + 1 + protowire.SizeVarint(uint64(priority)) + 2
		if kind == pb.Message_Wantlist_Have {
			length += 2
		}
		l.entries = protowire.AppendTag(l.entries, 1, protowire.BytesType)
		l.entries = protowire.AppendVarint(l.entries, uint64(length))
		l.entries = protowire.AppendTag(l.entries, 1, protowire.BytesType)
		l.entries = protowire.AppendString(l.entries, key)
		l.entries = protowire.AppendTag(l.entries, 2, protowire.VarintType)
		l.entries = protowire.AppendVarint(l.entries, uint64(priority))
		if kind == pb.Message_Wantlist_Have {
			l.entries = append(l.entries, 4<<3, 1)
		}
		l.entries = append(l.entries, 5<<3, 1)
		priority--
	}
	size := 1 + protowire.SizeBytes(len(l.entries))
	l.out = protowire.AppendVarint(l.out[:0], uint64(size))
	l.out = protowire.AppendTag(l.out, 1, protowire.BytesType)
	l.out = protowire.AppendBytes(l.out, l.entries)
	_, err := w.Write(l.out)
	return err
}

func (*leanCodec) read(r msgio.Reader, visit func(answer)) error {
	whole, err := r.ReadMsg()
	if err != nil {
		return err
	}
	defer r.ReleaseMsg(whole)
	return eachField(whole, func(field protowire.Number, _ uint64, body []byte) error {
		switch field {
		case 3:
			return leanBlock(body, visit)
		case 4:
			return leanPresence(body, visit)
		}
		return nil
	})
}

func leanBlock(body []byte, visit func(answer)) error {
	var prefix, data []byte
	err := eachField(body, func(field protowire.Number, _ uint64, inner []byte) error {
		switch field {
		case 1:
			prefix = inner
		case 2:
			data = inner
		}
		return nil
	})
	if err != nil {
		return err
	}
	p, err := cid.PrefixFromBytes(prefix)
	if err != nil {
		return err
	}
	if p.Version != 1 || p.MhType != 0x12 || p.MhLength != sha256.Size {
		c, err := p.Sum(data)
		if err == nil {
			visit(answer{c.Bytes(), len(data), gotBlock})
		}
		return err
	}
	digest := sha256.Sum256(data)
	var key [64]byte
	n := copy(key[:], prefix)
	n += copy(key[n:], digest[:])
	visit(answer{key[:n], len(data), gotBlock})
	return nil
}

func leanPresence(body []byte, visit func(answer)) error {
	said := answer{kind: gotHave}
	err := eachField(body, func(field protowire.Number, number uint64, inner []byte) error {
		switch field {
		case 1:
			said.key = inner
		case 2:
			said.kind = gotHave + answerKind(number)
		}
		return nil
	})
	if err == nil {
		visit(said)
	}
	return err
}

func eachField(b []byte, visit func(field protowire.Number, number uint64, body []byte) error) error {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		var number uint64
		var body []byte
		switch kind {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			body, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if err := visit(field, number, body); err != nil {
			return err
		}
	}
	return nil
}

// framed puts the length in front that every message has on a stream.
func framed(body []byte) []byte {
	return append(varint.ToUvarint(uint64(len(body))), body...)
}
