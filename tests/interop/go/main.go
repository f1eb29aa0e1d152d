// SPDX-License-Identifier: MIT

// Command peer is a libp2p peer for the tests and the comparison: one program that asks any Bitswap
// server the same questions and times the answers, so that two servers can be set side by side; that
// serves blocks with the server of boxo; and that does what is legal but odd.
//
// Every command prints one JSON object on stdout. Exit status: 0 done, 1 not what was hoped for,
// 2 usage.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

type command struct {
	name, what string
	run        func(arguments []string) (any, error)
}

var commands = []command{
	{"want", "want blocks of a server, verify and time them", runWant},
	{"dial", "connect, identify, disconnect, again and again", runDial},
	{"serve", "serve blocks until stdin ends", runServe},
	{"odd", "do what is legal but odd, and see that it is served", runOdd},
	{"cids", "list the CIDs of seeded blocks", runCids},
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: peer COMMAND [--help] [flags]")
	for _, c := range commands {
		fmt.Fprintf(os.Stderr, "  %-6s %s\n", c.name, c.what)
	}
	os.Exit(2)
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	for _, c := range commands {
		if c.name != os.Args[1] {
			continue
		}
		said, err := c.run(os.Args[2:])
		if said != nil {
			line, marshalErr := json.Marshal(said)
			if marshalErr != nil {
				panic(marshalErr)
			}
			fmt.Println(string(line))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "peer:", err)
			os.Exit(1)
		}
		return
	}
	usage()
}
