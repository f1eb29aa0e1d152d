// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"slices"
	"sync"
	"syscall"
	"time"

	pb "github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	depthMax       = 1024 // what boxo remembers of one peer
	dialsAtOnce    = 8
	wantsInMessage = 1024
)

// wantPlan is one run: who asks whom for what, how many at once, and when it ends.
type wantPlan struct {
	host     hostFlags
	content  contentFlags
	to       string
	clients  int
	depth    int
	have     bool
	codec    string
	count    int
	seconds  float64
	patience float64
	quitAt   int
}

type wantReport struct {
	Clients    int     `json:"clients"`
	Security   string  `json:"security"`
	Agent      string  `json:"agent"`
	Blocks     int     `json:"blocks"`
	Haves      int     `json:"haves"`
	DontHaves  int     `json:"dont_haves"`
	Bytes      int64   `json:"bytes"`
	Seconds    float64 `json:"seconds"`
	Rate       float64 `json:"rate"`
	MBs        float64 `json:"mb_s"`
	P50        float64 `json:"p50_us"`
	P95        float64 `json:"p95_us"`
	P99        float64 `json:"p99_us"`
	Max        float64 `json:"max_us"`
	Lost       int     `json:"lost"`
	Unwanted   int     `json:"unwanted"`
	Streams    int     `json:"streams"`
	ConnectS   float64 `json:"connect_seconds"`
	OwnCpuUs   float64 `json:"own_cpu_us"`
	FirstError string  `json:"error,omitempty"`
}

// wanter is one client: its wants in flight, oldest first nowhere, each with the time it left.
type wanter struct {
	plan   *wantPlan
	host   host.Host
	peer   peer.ID
	codec  codec
	list   []cid.Cid
	next   int
	freed  chan struct{}
	done   chan struct{}
	quit   chan struct{}
	ending sync.Once

	lock     sync.Mutex
	inflight map[string]time.Time
	asked    int
	answered int
	left     int // still to be asked for
	closing  bool
	last     time.Time
	took     []float32
	report   wantReport
}

func runWant(arguments []string) (any, error) {
	set := flag.NewFlagSet("want", flag.ExitOnError)
	plan := &wantPlan{}
	plan.host.add(set)
	plan.content.add(set)
	set.StringVar(&plan.to, "to", "", "the server: multiaddr ending in /p2p/ID")
	set.IntVar(&plan.clients, "clients", 1, "clients, each with an identity and a connection")
	set.IntVar(&plan.depth, "depth", 64, "wants in flight of each client, 1 to 1024")
	set.BoolVar(&plan.have, "have", false, "ask whether it has them instead of for the blocks")
	set.StringVar(&plan.codec, "codec", "boxo", "boxo, or lean: less work for this program")
	set.IntVar(&plan.count, "count", 0, "answers for each client; 0: every CID once")
	set.Float64Var(&plan.seconds, "seconds", 0, "stop asking after so long, whatever --count says")
	set.Float64Var(&plan.patience, "patience", 10, "a want unanswered for so long is lost")
	set.IntVar(&plan.quitAt, "quit-at", 0, "disconnect without a word after so many answers")
	_ = set.Parse(arguments)
	if plan.depth < 1 || plan.depth > depthMax || plan.clients < 1 {
		return nil, fmt.Errorf("--depth is 1 to %d, --clients at least 1", depthMax)
	}
	to, err := peer.AddrInfoFromString(plan.to)
	if err != nil {
		return nil, fmt.Errorf("--to: %w", err)
	}
	list, err := plan.content.list()
	if err != nil {
		return nil, err
	}
	return plan.run(to, list)
}

func (plan *wantPlan) run(to *peer.AddrInfo, list []cid.Cid) (*wantReport, error) {
	wanters, err := plan.connectAll(to, list)
	defer func() {
		for _, w := range wanters {
			if w != nil {
				w.host.Close()
			}
		}
	}()
	if err != nil {
		return nil, err
	}
	total := &wantReport{Clients: plan.clients, Security: plan.host.security}
	if agent, err := wanters[0].host.Peerstore().Get(to.ID, "AgentVersion"); err == nil {
		total.Agent, _ = agent.(string)
	}
	cpuBefore := ownCpu()
	began := time.Now()
	var all sync.WaitGroup
	for _, w := range wanters {
		all.Go(w.ask)
	}
	all.Wait()
	last := began
	var took []float32
	for _, w := range wanters {
		took = append(took, w.took...)
		total.add(&w.report)
		if w.last.After(last) {
			last = w.last
		}
	}
	total.Seconds = last.Sub(began).Seconds()
	total.OwnCpuUs = ownCpu() - cpuBefore
	total.summarise(took)
	if total.FirstError != "" && plan.quitAt == 0 {
		return total, errors.New(total.FirstError)
	}
	return total, nil
}

// connectAll dials with every client before the first want is sent.
func (plan *wantPlan) connectAll(to *peer.AddrInfo, list []cid.Cid) ([]*wanter, error) {
	began := time.Now()
	out := make([]*wanter, plan.clients)
	failed := make([]error, plan.clients)
	slots := make(chan struct{}, dialsAtOnce)
	var all sync.WaitGroup
	for i := range plan.clients {
		slots <- struct{}{}
		all.Go(func() {
			out[i], failed[i] = plan.newWanter(to, list, i)
			<-slots
		})
	}
	all.Wait()
	err := errors.Join(failed...)
	if err == nil {
		out[0].report.ConnectS = time.Since(began).Seconds()
	}
	return out, err
}

func (plan *wantPlan) newWanter(to *peer.AddrInfo, list []cid.Cid, index int) (*wanter, error) {
	h, err := plan.host.open()
	if err != nil {
		return nil, err
	}
	code, err := codecNamed(plan.codec)
	if err != nil {
		return nil, err
	}
	w := &wanter{
		plan: plan, host: h, peer: to.ID, codec: code, list: list,
		next:     index * len(list) / plan.clients,
		freed:    make(chan struct{}, 1),
		done:     make(chan struct{}),
		quit:     make(chan struct{}),
		inflight: make(map[string]time.Time, plan.depth),
		left:     plan.count,
	}
	if plan.count == 0 {
		w.left = len(list)
		if plan.seconds > 0 {
			w.left = math.MaxInt
		}
	}
	for _, p := range []network.StreamHandler{w.receive} {
		h.SetStreamHandler(bitswap120, p)
		h.SetStreamHandler(bitswap110, p)
		h.SetStreamHandler(bitswap100, p)
		h.SetStreamHandler(bitswapOld, p)
	}
	h.Network().Notify(&network.NotifyBundle{DisconnectedF: func(network.Network, network.Conn) {
		w.end("the server closed the connection")
	}})
	return w, connect(h, to)
}

// ask keeps the wants in flight until the run is over.
func (w *wanter) ask() {
	stream, err := openStream(w.host, w.peer, bitswap120, bitswap110, bitswap100, bitswapOld)
	if err != nil {
		w.end(err.Error())
		return
	}
	go func() { // nothing is ever said on it, but its reset must be noticed
		one := make([]byte, 1)
		if _, err := stream.Read(one); err != nil && err.Error() != "EOF" {
			w.end("the want stream: " + err.Error())
		}
	}()
	kind := pb.Message_Wantlist_Block
	if w.plan.have {
		kind = pb.Message_Wantlist_Have
	}
	var stop <-chan time.Time
	if w.plan.seconds > 0 {
		stop = time.After(time.Duration(w.plan.seconds * float64(time.Second)))
	}
	patience := time.NewTicker(time.Second)
	defer patience.Stop()
	priority := int32(math.MaxInt32)
	var wants []cid.Cid
	for {
		wants = w.take(wants[:0])
		if len(wants) > 0 {
			if err := w.codec.write(stream, wants, kind, priority); err != nil {
				w.end("the want stream: " + err.Error())
				return
			}
			priority -= int32(len(wants))
			if priority < math.MaxInt32/2 {
				priority = math.MaxInt32
			}
		}
		select {
		case <-w.freed:
		case <-stop:
			w.lock.Lock()
			w.left = 0
			w.finishIfIdle()
			w.lock.Unlock()
		case <-patience.C:
			w.giveUpLate()
		case <-w.done:
			return
		}
	}
}

// take moves as many CIDs into flight as there is room for.
func (w *wanter) take(out []cid.Cid) []cid.Cid {
	w.lock.Lock()
	defer w.lock.Unlock()
	now := time.Now()
	for skipped := 0; w.left > 0 && len(w.inflight) < w.plan.depth &&
		len(out) < wantsInMessage && skipped <= len(w.inflight); {
		c := w.list[w.next]
		w.next = (w.next + 1) % len(w.list)
		if _, there := w.inflight[c.KeyString()]; there {
			skipped++
			continue
		}
		w.inflight[c.KeyString()] = now
		w.left--
		out = append(out, c)
	}
	return out
}

func (w *wanter) receive(s network.Stream) {
	w.lock.Lock()
	w.report.Streams++
	w.lock.Unlock()
	r := messageReader(s)
	for {
		if err := w.codec.read(r, w.got); err != nil {
			if err.Error() == "EOF" {
				s.Close()
			} else {
				s.Reset()
				w.lock.Lock()
				if w.report.FirstError == "" && !w.closing {
					w.report.FirstError = "a reply stream: " + err.Error()
				}
				w.lock.Unlock()
			}
			return
		}
	}
}

func (w *wanter) got(a answer) {
	now := time.Now()
	w.lock.Lock()
	defer w.lock.Unlock()
	began, there := w.inflight[string(a.key)]
	if !there {
		if a.kind == gotBlock {
			w.report.Unwanted++
		}
		return
	}
	if a.kind == gotHave && !w.plan.have {
		return // the block is still owed
	}
	delete(w.inflight, string(a.key))
	switch a.kind {
	case gotBlock:
		w.report.Blocks++
	case gotHave:
		w.report.Haves++
	case gotDontHave:
		w.report.DontHaves++
	}
	w.report.Bytes += int64(a.bytes)
	w.took = append(w.took, float32(now.Sub(began).Seconds()*1e6))
	w.last = now
	w.answered++
	if w.plan.quitAt > 0 && w.answered == w.plan.quitAt {
		w.closing = true
		go w.vanish()
	}
	w.finishIfIdle()
	select {
	case w.freed <- struct{}{}:
	default:
	}
}

// vanish closes the connections in the middle of everything.
func (w *wanter) vanish() {
	for _, c := range w.host.Network().ConnsToPeer(w.peer) {
		c.Close()
	}
	w.end("")
}

func (w *wanter) finishIfIdle() {
	if w.left == 0 && len(w.inflight) == 0 {
		w.closing = true
		w.ending.Do(func() { close(w.done) })
	}
}

// giveUpLate ends the run where nothing has come for as long as we are ready to wait.
func (w *wanter) giveUpLate() {
	w.lock.Lock()
	limit := time.Now().Add(-time.Duration(w.plan.patience * float64(time.Second)))
	late := 0
	for _, began := range w.inflight {
		if began.Before(limit) {
			late++
		}
	}
	idle := w.last.Before(limit)
	w.lock.Unlock()
	if late > 0 && idle {
		w.end(fmt.Sprintf("no answer for %g s", w.plan.patience))
	}
}

func (w *wanter) end(why string) {
	w.ending.Do(func() {
		w.lock.Lock()
		defer w.lock.Unlock()
		if !w.closing || w.plan.quitAt > 0 {
			w.report.Lost = len(w.inflight)
			w.report.FirstError = why
		}
		w.closing = true
		close(w.done)
	})
}

func (total *wantReport) add(one *wantReport) {
	total.Blocks += one.Blocks
	total.Haves += one.Haves
	total.DontHaves += one.DontHaves
	total.Bytes += one.Bytes
	total.Lost += one.Lost
	total.Unwanted += one.Unwanted
	total.Streams += one.Streams
	total.ConnectS += one.ConnectS
	if total.FirstError == "" {
		total.FirstError = one.FirstError
	}
}

func (total *wantReport) summarise(took []float32) {
	if len(took) == 0 {
		return
	}
	if total.Seconds > 0 {
		total.Rate = float64(len(took)) / total.Seconds
		total.MBs = float64(total.Bytes) / total.Seconds / 1e6
	}
	slices.Sort(took)
	at := func(share float64) float64 {
		return float64(took[min(int(share*float64(len(took))), len(took)-1)])
	}
	total.P50, total.P95, total.P99, total.Max = at(0.5), at(0.95), at(0.99), at(1)
}

func ownCpu() float64 {
	var use syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &use) != nil {
		return 0
	}
	return float64(use.Utime.Sec+use.Stime.Sec)*1e6 + float64(use.Utime.Usec+use.Stime.Usec)
}
