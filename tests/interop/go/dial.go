// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
)

type dialReport struct {
	Connects int     `json:"connects"`
	Failed   int     `json:"failed"`
	Seconds  float64 `json:"seconds"`
	Rate     float64 `json:"rate"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	Pings    int     `json:"pings"`
	PingP50  float64 `json:"ping_p50_us"`
	OwnCpuUs float64 `json:"own_cpu_us"`
	Agent    string  `json:"agent"`
	Observed string  `json:"protocol_version"`
}

// runDial times whole connections: TCP, security, muxer, identify both ways. With --pings it also
// pings over the last one.
func runDial(arguments []string) (any, error) {
	set := flag.NewFlagSet("dial", flag.ExitOnError)
	var hosts hostFlags
	hosts.add(set)
	where := set.String("to", "", "the server: multiaddr ending in /p2p/ID")
	count := set.Int("count", 1, "connections in all")
	atOnce := set.Int("parallel", 1, "how many at once, each with an identity of its own")
	pings := set.Int("pings", 0, "libp2p pings over one more connection")
	_ = set.Parse(arguments)
	to, err := peer.AddrInfoFromString(*where)
	if err != nil {
		return nil, fmt.Errorf("--to: %w", err)
	}
	report := &dialReport{}
	var lock sync.Mutex
	var took []float64
	var first error
	cpuBefore := ownCpu()
	began := time.Now()
	var all sync.WaitGroup
	for i := range *atOnce {
		share := *count / *atOnce
		if i < *count%*atOnce {
			share++
		}
		all.Go(func() {
			mine, err := dialMany(&hosts, to, share)
			lock.Lock()
			defer lock.Unlock()
			took = append(took, mine...)
			first = errors.Join(first, err)
		})
	}
	all.Wait()
	report.Seconds = time.Since(began).Seconds()
	report.OwnCpuUs = ownCpu() - cpuBefore
	report.Connects, report.Failed = len(took), *count-len(took)
	if len(took) > 0 {
		slices.Sort(took)
		report.Rate = float64(len(took)) / report.Seconds
		report.P50, report.P99 = took[len(took)/2], took[len(took)*99/100]
	}
	if first == nil {
		first = pingMany(&hosts, to, *pings, report)
	}
	return report, first
}

func dialMany(hosts *hostFlags, to *peer.AddrInfo, count int) ([]float64, error) {
	h, err := hosts.open()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	var took []float64
	for range count {
		began := time.Now()
		if err := connect(h, to); err != nil {
			return took, err
		}
		took = append(took, time.Since(began).Seconds()*1e6)
		if err := h.Network().ClosePeer(to.ID); err != nil {
			return took, err
		}
	}
	return took, nil
}

func pingMany(hosts *hostFlags, to *peer.AddrInfo, count int, report *dialReport) error {
	h, err := hosts.open()
	if err != nil {
		return err
	}
	defer h.Close()
	if err := connect(h, to); err != nil {
		return err
	}
	for name, into := range map[string]*string{
		"AgentVersion": &report.Agent, "ProtocolVersion": &report.Observed} {
		if value, err := h.Peerstore().Get(to.ID, name); err == nil {
			*into, _ = value.(string)
		}
	}
	if count == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	var took []float64
	for result := range ping.Ping(ctx, h, to.ID) {
		if result.Error != nil {
			return fmt.Errorf("ping: %w", result.Error)
		}
		took = append(took, result.RTT.Seconds()*1e6)
		if len(took) == count {
			break
		}
	}
	slices.Sort(took)
	report.Pings, report.PingP50 = len(took), took[len(took)/2]
	return nil
}
