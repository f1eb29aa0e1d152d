// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/sha3"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/multiformats/go-varint"
)

const carSectionMax = 8 << 20

// contentFlags name a set of blocks: seeded ones, which every peer of the tests can make for
// itself, or what a file holds.
type contentFlags struct {
	seed         string
	count, bytes int
	cids, car    string
}

func (f *contentFlags) add(set *flag.FlagSet) {
	set.StringVar(&f.seed, "seed", "", "seeded blocks: raw, block I is SHAKE128(\"SEED/I\")")
	set.IntVar(&f.count, "blocks", 1, "how many seeded blocks")
	set.IntVar(&f.bytes, "size", 1024, "bytes of a seeded block")
	set.StringVar(&f.cids, "cids", "", "file of CIDs, one a line")
	set.StringVar(&f.car, "car", "", "CARv1 file")
}

func seededData(seed string, index, size int) []byte {
	return sha3.SumSHAKE128(fmt.Appendf(nil, "%s/%d", seed, index), size)
}

func rawCid(data []byte) cid.Cid {
	digest := sha256.Sum256(data)
	hash, err := multihash.Encode(digest[:], multihash.SHA2_256)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.Raw, hash)
}

// each calls back for every block there is to serve.
func (f *contentFlags) each(visit func(blocks.Block) error) error {
	if f.car != "" {
		return eachOfCar(f.car, visit)
	}
	if f.seed == "" {
		return errors.New("--seed or --car is needed")
	}
	for i := range f.count {
		data := seededData(f.seed, i, f.bytes)
		block, err := blocks.NewBlockWithCid(data, rawCid(data))
		if err != nil {
			return err
		}
		if err := visit(block); err != nil {
			return err
		}
	}
	return nil
}

// list is the CIDs alone.
func (f *contentFlags) list() ([]cid.Cid, error) {
	var out []cid.Cid
	if f.cids == "" {
		err := f.each(func(b blocks.Block) error {
			out = append(out, b.Cid())
			return nil
		})
		return out, err
	}
	text, err := os.ReadFile(f.cids)
	if err != nil {
		return nil, err
	}
	for _, word := range strings.Fields(string(text)) {
		c, err := cid.Decode(word)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.cids, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no CIDs in it", f.cids)
	}
	return out, nil
}

func eachOfCar(path string, visit func(blocks.Block) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 1<<20)
	for first := true; ; first = false {
		length, err := varint.ReadUvarint(in)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if length > carSectionMax {
			return fmt.Errorf("%s: a section of %d bytes", path, length)
		}
		section := make([]byte, length)
		if _, err := io.ReadFull(in, section); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if first {
			continue
		}
		used, c, err := cid.CidFromBytes(section)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		block, err := blocks.NewBlockWithCid(section[used:], c)
		if err != nil {
			return err
		}
		if err := visit(block); err != nil {
			return err
		}
	}
}

func runCids(arguments []string) (any, error) {
	set := flag.NewFlagSet("cids", flag.ExitOnError)
	var content contentFlags
	content.add(set)
	_ = set.Parse(arguments)
	list, err := content.list()
	for _, c := range list {
		fmt.Println(c)
	}
	return nil, err
}
