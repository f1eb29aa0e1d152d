// SPDX-License-Identifier: MIT
//
// A Helia node that tests drive: JSON requests on stdin, one a line, each answered by one line on
// stdout in order; it ends where stdin does. The first line says who it is and where it listens.
// Every block is checked against its CID here as well, whatever Helia checks.

import { createHash } from 'node:crypto'
import { openSync, readSync, closeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import * as dagPb from '@ipld/dag-pb'
import { withBitswap } from '@helia/bitswap'
import { withLibp2pLight } from '@helia/libp2p'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { MemoryBlockstore } from 'blockstore-core'
import { createHeliaLight } from 'helia'
import { CID } from 'multiformats/cid'
import * as digests from 'multiformats/hashes/digest'

const RAW = 0x55
const SHA2_256 = 0x12
const PATIENCE_MS = 60_000

const argument = name => {
  const at = process.argv.indexOf(name)
  return at < 0 ? undefined : process.argv[at + 1]
}

const securities = { noise: [noise()], tls: [tls()], both: [noise(), tls()] }
const store = new MemoryBlockstore()
const node = withBitswap(withLibp2pLight(createHeliaLight({ blockstore: store }), {
  addresses: { listen: process.argv.includes('--no-listen') ? [] : ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: securities[argument('--security') ?? 'noise'],
  streamMuxers: [yamux()],
  services: { identify: identify(), ping: ping() }
}))

const sha256 = bytes => digests.create(SHA2_256, createHash('sha256').update(bytes).digest())
const seededData = (seed, index, size) =>
  createHash('shake128', { outputLength: size }).update(`${seed}/${index}`).digest()
const rawCid = bytes => CID.createV1(RAW, sha256(bytes))

// What a request names: CIDs as text, or seeded blocks as every peer of the tests makes them.
function * named ({ cids, seed, count, size, from = 0 }) {
  if (cids != null) {
    for (const text of cids) {
      yield CID.parse(text)
    }
    return
  }
  for (let index = from; index < from + count; index++) {
    yield rawCid(seededData(seed, index, size))
  }
}

async function gather (chunks) {
  if (chunks instanceof Uint8Array) {
    return chunks
  }
  const parts = []
  for await (const part of await chunks) {
    parts.push(part)
  }
  return parts.length === 1 ? parts[0] : Buffer.concat(parts)
}

function sound (cid, bytes) {
  const digest = sha256(bytes)
  return cid.multihash.code === SHA2_256 &&
    Buffer.compare(digest.digest, cid.multihash.digest) === 0
}

// Runs `work` for each item of `items`, so many at once; an item may add more by `add`.
async function pooled (items, depth, work) {
  const queue = [...items]
  let running = 0
  await new Promise((resolve, reject) => {
    const step = () => {
      while (running < depth && queue.length > 0) {
        running++
        work(queue.shift(), more => queue.push(...more)).then(() => {
          running--
          step()
        }, reject)
      }
      if (running === 0 && queue.length === 0) {
        resolve()
      }
    }
    step()
  })
}

async function fetchAll (request, items, links) {
  const { depth = 32, session, providers, quitAt } = request
  const stop = new AbortController()
  const from = session
    ? node.blockstore.createSession(items[0], { providers: providers?.map(multiaddr) })
    : node.blockstore
  const said = { blocks: 0, bytes: 0, leaves: 0, wrong: 0 }
  const began = performance.now()
  const seen = new Set()
  try {
    await pooled(items, depth, async (cid, add) => {
      const key = cid.toString()
      if (seen.has(key)) {
        return
      }
      seen.add(key)
      const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(PATIENCE_MS)])
      const bytes = await gather(from.get(cid, { signal }))
      said.blocks++
      said.bytes += bytes.length
      said.leaves += cid.code === RAW ? bytes.length : 0
      said.wrong += sound(cid, bytes) ? 0 : 1
      if (said.blocks === quitAt) {
        await disconnect()
        stop.abort(new Error('disconnected as asked'))
      }
      if (links && cid.code === dagPb.code) {
        add(dagPb.decode(bytes).Links.map(link => link.Hash))
      }
    })
  } catch (error) {
    if (!stop.signal.aborted) {
      throw new Error(`after ${said.blocks} blocks: ${error.message}`)
    }
    said.quit = true
  }
  from.close?.()
  said.seconds = (performance.now() - began) / 1000
  said.rate = said.blocks / said.seconds
  return said
}

async function disconnect () {
  await Promise.all(node.libp2p.getConnections().map(async c => c.close()))
}

function * carSections (path) {
  const file = openSync(path, 'r')
  let position = 0
  const take = length => {
    const bytes = Buffer.alloc(length)
    const got = readSync(file, bytes, 0, length, position)
    position += got
    return got === length ? bytes : undefined
  }
  const length = () => {
    for (let value = 0, scale = 1; ; scale *= 128) {
      const byte = take(1)
      if (byte === undefined) {
        return 0
      }
      value += (byte[0] & 0x7f) * scale
      if (byte[0] < 0x80) {
        return value
      }
    }
  }
  take(length()) // the header
  for (let n = length(); n > 0; n = length()) {
    const [cid, bytes] = CID.decodeFirst(take(n))
    yield { cid, bytes }
  }
  closeSync(file)
}

const commands = {
  async connect ({ to }) {
    const began = performance.now()
    const connection = await node.libp2p.dial(multiaddr(to), { signal: AbortSignal.timeout(20_000) })
    return { peer: connection.remotePeer.toString(), seconds: (performance.now() - began) / 1000 }
  },
  async disconnect () {
    await disconnect()
    return {}
  },
  async fetch (request) {
    return fetchAll(request, [...named(request)], false)
  },
  async dag (request) {
    return fetchAll(request, [CID.parse(request.root)], true)
  },
  async put ({ seed, count, size, from = 0 }) {
    const cids = []
    for (let index = from; index < from + count; index++) {
      const bytes = seededData(seed, index, size)
      const cid = rawCid(bytes)
      await node.blockstore.put(cid, bytes)
      cids.push(cid.toString())
    }
    return { cids }
  },
  async load ({ car }) {
    let blocks = 0
    for (const { cid, bytes } of carSections(car)) {
      await node.blockstore.put(cid, bytes)
      blocks++
    }
    return { blocks }
  },
  async forget (request) {
    for (const cid of named(request)) {
      await store.delete(cid)
    }
    return {}
  },
  async ping ({ to }) {
    const signal = AbortSignal.timeout(10_000)
    return { milliseconds: await node.libp2p.services.ping.ping(multiaddr(to), { signal }) }
  },
  async peers () {
    return { peers: node.libp2p.getConnections().map(c => c.remoteAddr.toString()) }
  }
}

function say (what) {
  process.stdout.write(JSON.stringify(what) + '\n')
}

await node.start()
say({
  id: node.libp2p.peerId.toString(),
  addrs: node.libp2p.getMultiaddrs().map(a => a.toString()),
  node: process.version
})
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  try {
    say(await commands[request.do](request))
  } catch (error) {
    console.error(error)
    say({ error: `${request.do}: ${error.message}` })
  }
}
await node.stop()
process.exit(0)
