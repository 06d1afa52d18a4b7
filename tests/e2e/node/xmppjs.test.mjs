// @xmpp/client, an XMPP library nobody here wrote, over each transport it has: STARTTLS, TLS from the first byte and
// WebSocket. What is asked of the server is RFC 6120/6121/7395 and the small XEPs; nothing of QuickBlox but the JIDs.
// The library logs in by SASL2 (XEP-0388) and binds its resource with that (XEP-0386), where it is not kept from it.

import { test, describe, before, after } from 'node:test'
import assert from 'node:assert/strict'
import { client, xml } from '@xmpp/client'
import { server, xmppOnly, newUser, Inbox } from './world.mjs'

const NS_STANZAS = 'urn:ietf:params:xml:ns:xmpp-stanzas'
const NS_STREAM = 'http://etherx.jabber.org/streams'
const NS_SASL2 = 'urn:xmpp:sasl:2'
const NS_BIND_2 = 'urn:xmpp:bind:0'
const NS_MAM = 'urn:xmpp:mam:2'
const NS_ROSTER = 'jabber:iq:roster'
const NS_PING = 'urn:xmpp:ping'
const NS_DISCO_INFO = 'http://jabber.org/protocol/disco#info'
const NS_DISCO_ITEMS = 'http://jabber.org/protocol/disco#items'

const TRANSPORTS = [
  { name: 'TCP with STARTTLS', service: `xmpp://${server.host}:${server.xmppPort}` },
  { name: 'TLS from the first byte', service: `xmpps://${server.host}:${server.xmppsPort}` },
  { name: 'WebSocket', service: server.websocket }
]

let serial = 0
const newId = () => `e2e-${process.pid}-${++serial}`
const isMessage = (body) => (stanza) => stanza.is('message') && stanza.getChildText('body') === body
const condition = (stanza) => stanza.getChild('error')?.children.find((child) => child.attrs?.xmlns === NS_STANZAS)?.name

/** Logs in; every stanza that is no answer to an iq of ours goes to `inbox`. */
async function connect (user, service, { resource, mechanism, sasl2 = true } = {}) {
  const options = { service, domain: server.domain, resource, timeout: 8000 }
  let used = null
  options.credentials = async (authenticate, mechanisms) => {
    used = mechanism ?? mechanisms.find((offered) => offered.startsWith('SCRAM')) ?? mechanisms[0]
    assert.ok(mechanisms.includes(used), `the client knows of ${mechanisms}, wanted ${used}`)
    await authenticate({ username: user.node, password: user.password }, used)
  }
  const xmpp = client(options)
  xmpp.reconnect.stop()
  // Before the library looks at the features: what it does not see it does not use.
  if (!sasl2) xmpp.prependListener('element', (element) => hide(element, 'authentication', NS_SASL2))
  const inbox = new Inbox()
  const errors = []
  xmpp.on('error', (error) => errors.push(error))
  let success
  xmpp.on('element', (element) => { if (element.is('success', NS_SASL2)) success = element })
  xmpp.on('stanza', (stanza) => {
    if (!(stanza.is('iq') && ['result', 'error'].includes(stanza.attrs.type))) inbox.push(stanza)
  })
  let jid
  try {
    jid = await start(xmpp, options)
  } catch (error) {
    await xmpp.stop().catch(() => {})
    throw error
  }
  return { xmpp, inbox, errors, success, jid: jid.toString(), mechanism: used }
}

/**
 * What `xmpp.start()` does. It looks after the promise of being online only once `open` has returned, and the refusal of a quick
 * server comes before that: a rejection that nobody handles.
 */
async function start (xmpp, { service, domain }) {
  const online = new Promise((resolve, reject) => {
    xmpp.once('online', resolve)
    xmpp.once('error', reject)
  })
  online.catch(() => {})
  hearOpen(xmpp)
  await xmpp.connect(service)
  await Promise.race([xmpp.open({ domain }), online])
  return online
}

/** The library begins to listen for the server's header when its own is written: over TLS the answer may have come by then. */
function hearOpen (xmpp) {
  const open = xmpp.open
  xmpp.open = function (options) {
    const opened = new Promise((resolve) => xmpp.once('open', resolve))
    return Promise.race([opened, open.call(xmpp, options).catch(() => opened)])
  }
}

/** Logs in as the installation with this id; tokens (XEP-0484) are kept on `shelf`. */
async function known (user, service, id, shelf) {
  const options = {
    service,
    domain: server.domain,
    timeout: 8000,
    username: user.node,
    password: user.password,
    userAgent: xml('user-agent', { id }, xml('software', {}, 'e2e'))
  }
  const xmpp = client(options)
  xmpp.reconnect.stop()
  // What is refused is thrown by `start`; an error without a listener would be thrown once more, at nobody.
  xmpp.on('error', () => {})
  Object.assign(xmpp.fast, {
    saveToken: async (token) => { Object.assign(shelf, { token, saved: shelf.saved + 1 }) },
    fetchToken: async () => shelf.token,
    deleteToken: async () => { shelf.token = null }
  })
  try {
    const jid = await start(xmpp, options)
    // The library saves its token without waiting for that.
    await xmpp.iqCaller.request(xml('iq', { type: 'get', to: server.domain }, xml('ping', NS_PING)), 5000)
    return { xmpp, jid: jid.toString() }
  } catch (error) {
    await xmpp.stop().catch(() => {})
    throw error
  }
}

function hide (features, name, ns) {
  if (!features.is('features', NS_STREAM)) return
  features.children = features.children.filter((child) => !child.is?.(name, ns))
}

/** Sends a presence and waits for its echo: only then is the resource known to be available. */
async function comeOnline (session, ...children) {
  const id = newId()
  await session.xmpp.send(xml('presence', { id }, ...children))
  await session.inbox.next((s) => s.is('presence') && s.attrs.from === session.jid && !s.attrs.type, 'echo of own presence')
}

async function say (session, to, body, attributes = {}) {
  const id = newId()
  await session.xmpp.send(xml('message', { to, id, type: 'chat', ...attributes }, xml('body', {}, body)))
  return id
}

for (const transport of TRANSPORTS) {
  describe(`@xmpp/client over ${transport.name}`, { timeout: 90_000 }, () => {
    let romeo, juliet, r, j

    before(async () => {
      romeo = await newUser('romeo')
      juliet = await newUser('juliet')
      r = await connect(romeo, transport.service)
      j = await connect(juliet, transport.service)
      // RFC 6121 §2.2: only who has asked for the roster gets its pushes, and requests for subscription.
      for (const session of [r, j]) {
        await session.xmpp.iqCaller.get(xml('query', NS_ROSTER), undefined, 5000)
        await comeOnline(session)
      }
    })

    after(async () => {
      await r?.xmpp.stop()
      await j?.xmpp.stop()
      assert.deepEqual(r?.errors ?? [], [], 'errors the client reported by itself')
      assert.deepEqual(j?.errors ?? [], [])
    })

    test('binds the JID of the account with a resource of the server', () => {
      const [bare, resource] = r.jid.split('/')
      assert.equal(bare, romeo.jid)
      assert.ok(resource?.length > 0)
    })

    test('calls the resource what the client calls itself', { skip: xmppOnly && 'servers differ' }, async () => {
      const s = await connect(romeo, transport.service, { resource: 'balcony' })
      assert.ok(s.jid.startsWith(`${romeo.jid}/balcony/`), s.jid)
      await s.xmpp.stop()
    })

    test('keeps the resource that is asked for without SASL2', async () => {
      const s = await connect(romeo, transport.service, { resource: 'balcony', sasl2: false })
      assert.equal(s.jid, `${romeo.jid}/balcony`)
      await s.xmpp.stop()
    })

    for (const sasl2 of [true, false]) {
      for (const mechanism of ['PLAIN', 'SCRAM-SHA-1']) {
        const by = `${mechanism} by ${sasl2 ? 'SASL2' : 'SASL'}`
        test(`${by} lets in`, async () => {
          const s = await connect(romeo, transport.service, { mechanism, sasl2 })
          assert.equal(s.jid.split('/')[0], romeo.jid)
          assert.equal((await s.xmpp.iqCaller.get(xml('query', NS_ROSTER), undefined, 5000)).attrs.xmlns, NS_ROSTER)
          assert.deepEqual(s.errors, [])
          await s.xmpp.stop()
        })

        test(`a wrong password is not-authorized with ${by}`, async () => {
          const wrong = { ...romeo, password: 'not-the-password' }
          await assert.rejects(connect(wrong, transport.service, { mechanism, sasl2 }),
            (error) => error.condition === 'not-authorized')
        })
      }
    }

    test('stream management is on as soon as the resource is bound', { skip: xmppOnly && 'servers differ' }, async () => {
      assert.equal(r.xmpp.streamManagement.enabled, true)
      const acked = new Promise((resolve) => r.xmpp.streamManagement.once('ack', resolve))
      await say(r, juliet.jid, 'counted')
      await j.inbox.next(isMessage('counted'), 'the message that is counted')
      assert.ok(await acked)
    })

    test('where the archive begins and ends comes with the resource', { skip: xmppOnly && 'servers differ' }, async () => {
      const archivist = await newUser('archivist')
      const ends = (session) => session.success.getChild('bound', NS_BIND_2).getChild('metadata', NS_MAM).getChildElements()
      const first = await connect(archivist, transport.service)
      assert.deepEqual(ends(first), [])
      const kept = xml('extraParams', { xmlns: 'jabber:client' }, xml('save_to_history', {}, '1'))
      const ids = ['begins', 'goes on', 'ends'].map(() => [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join(''))
      for (const id of ids) {
        await first.xmpp.send(xml('message', { to: juliet.jid, id, type: 'chat' }, xml('body', {}, id), kept))
        await j.inbox.next(isMessage(id), 'the message that is kept')
      }
      await first.xmpp.stop()
      const again = await connect(archivist, transport.service)
      assert.deepEqual(ends(again).map(({ name, attrs: { id } }) => [name, id]), [['start', ids[0]], ['end', ids[2]]])
      await again.xmpp.stop()
    })

    test('a client that is known logs in with its token', { skip: xmppOnly && 'servers differ' }, async () => {
      const installation = crypto.randomUUID()
      const shelf = { token: null, saved: 0 }
      const first = await known(romeo, transport.service, installation, shelf)
      assert.equal(shelf.saved, 1)
      assert.equal(shelf.token.mechanism, 'HT-SHA-256-NONE')
      const days = (new Date(shelf.token.expiry) - Date.now()) / 86_400_000
      assert.ok(days > 20 && days < 22, shelf.token.expiry)
      await first.xmpp.stop()
      // The password is of no use now, and the resource is the same again.
      const forgetful = { ...romeo, password: 'forgotten' }
      for (let time = 0; time < 2; time++) {
        const again = await known(forgetful, transport.service, installation, shelf)
        assert.equal(again.jid, first.jid)
        assert.equal((await again.xmpp.iqCaller.get(xml('query', NS_ROSTER), undefined, 5000)).attrs.xmlns, NS_ROSTER)
        await again.xmpp.stop()
      }
      assert.equal(shelf.saved, 1, 'the token goes on')
      // Somewhere else it is nobody's, and the library falls back to the password.
      await assert.rejects(known(forgetful, transport.service, crypto.randomUUID(), { ...shelf }),
        (error) => error.condition === 'not-authorized')
      const other = await known(romeo, transport.service, crypto.randomUUID(), { ...shelf })
      assert.notEqual(other.jid, first.jid)
      await other.xmpp.stop()
    })

    test('a session goes on after a cut', { skip: xmppOnly && 'servers differ' }, async () => {
      const nurse = await newUser('nurse')
      const s = await connect(nurse, transport.service)
      await comeOnline(s)
      const gone = new Promise((resolve) => s.xmpp.once('disconnect', resolve))
      const raw = s.xmpp.socket.socket ?? s.xmpp.socket
      if (raw.terminate) raw.terminate()
      else raw.destroy()
      await gone
      await say(r, nurse.jid, 'while you were away')
      await r.xmpp.iqCaller.request(xml('iq', { type: 'get', to: server.domain }, xml('ping', NS_PING)), 5000)
      // With the login, as the library knows of a session; it is online again without saying so.
      const resumed = new Promise((resolve) => s.xmpp.streamManagement.once('resumed', resolve))
      await s.xmpp.connect(transport.service)
      await Promise.race([s.xmpp.open({ domain: server.domain }), resumed])
      await resumed
      assert.equal(s.xmpp.jid.toString(), s.jid)
      await s.inbox.next(isMessage('while you were away'), 'what was said meanwhile')
      assert.deepEqual(s.errors, [])
      await s.xmpp.stop()
    })

    test('messages go both ways, with the full JID of the sender and the id as sent', async () => {
      const id = await say(r, juliet.jid, 'What light through yonder window breaks?')
      const there = await j.inbox.next(isMessage('What light through yonder window breaks?'), 'message to Juliet')
      assert.equal(there.attrs.from, r.jid)
      assert.equal(there.attrs.id, id)
      assert.equal(there.attrs.type, 'chat')
      await say(j, there.attrs.from, 'Ay me')
      const back = await r.inbox.next(isMessage('Ay me'), 'answer to Romeo')
      assert.equal(back.attrs.from, j.jid)
    })

    test('text survives as it was written: markup, quotes, emoji, right-to-left, line ends', async () => {
      const body = '<b>&amp;\'"</b> ]]> \u{1F426}\u200D\u2B1B שלום \t tab\nline two'
      await say(r, juliet.jid, body)
      await j.inbox.next(isMessage(body), 'the same text')
    })

    test('a hundred messages arrive in order', async () => {
      const bodies = Array.from({ length: 100 }, (_, n) => `in order ${n}`)
      for (const body of bodies) await say(r, juliet.jid, body)
      const got = []
      while (got.length < bodies.length) {
        const s = await j.inbox.next((s) => s.is('message') && s.getChildText('body')?.startsWith('in order'), `message ${got.length}`)
        got.push(s.getChildText('body'))
      }
      assert.deepEqual(got, bodies)
    })

    test('a forged from is replaced by the real one', async () => {
      await say(r, juliet.jid, 'honest', { from: `admin@${server.domain}/x` })
      const got = await j.inbox.next(isMessage('honest'), 'message')
      assert.equal(got.attrs.from, r.jid)
    })

    test('a message to somebody offline is kept and comes once, with the time it was sent', async () => {
      const nurse = await newUser('nurse')
      await say(r, nurse.jid, 'kept for later')
      await r.xmpp.iqCaller.get(xml('ping', NS_PING), server.domain)
      let n = await connect(nurse, transport.service)
      await n.inbox.never(isMessage('kept for later'), 'offline message before the first presence')
      await comeOnline(n)
      const got = await n.inbox.next(isMessage('kept for later'), 'offline message')
      const delay = got.getChild('delay', 'urn:xmpp:delay')
      assert.ok(delay, `no <delay/> in ${got}`)
      const age = Date.now() - Date.parse(delay.attrs.stamp)
      assert.ok(age >= -2000 && age < 60_000, `stamp ${delay.attrs.stamp} is ${age} ms old`)
      await n.xmpp.stop()
      n = await connect(nurse, transport.service)
      await comeOnline(n)
      await n.inbox.never(isMessage('kept for later'), 'second copy of the offline message')
      await n.xmpp.stop()
    })

    test('ping of the server is answered', async () => {
      const answer = await r.xmpp.iqCaller.request(xml('iq', { type: 'get', to: server.domain }, xml('ping', NS_PING)), 5000)
      assert.equal(answer.attrs.type, 'result')
      assert.equal(answer.attrs.from, server.domain)
    })

    test('disco#info of the server names what it can do', async () => {
      const query = await r.xmpp.iqCaller.get(xml('query', NS_DISCO_INFO), server.domain, 5000)
      const features = query.getChildren('feature').map((feature) => feature.attrs.var)
      for (const wanted of [NS_DISCO_INFO, NS_PING, 'jabber:iq:last', 'jabber:iq:version', 'urn:xmpp:time', 'msgoffline']) {
        assert.ok(features.includes(wanted), `${wanted} is missing in ${features}`)
      }
      assert.ok(query.getChildren('identity').some((identity) => identity.attrs.category === 'server'))
    })

    test('disco#items of the server is answered', async () => {
      const query = await r.xmpp.iqCaller.get(xml('query', NS_DISCO_ITEMS), server.domain, 5000)
      assert.equal(query.attrs.xmlns, NS_DISCO_ITEMS)
    })

    test('an unknown iq is service-unavailable and carries the id', async () => {
      // By hand: when the error comes before the library's own `send` has returned, `iqCaller` leaves its rejection unhandled.
      const id = newId()
      const answer = new Promise((resolve) => {
        r.xmpp.on('stanza', (stanza) => { if (stanza.is('iq') && stanza.attrs.id === id) resolve(stanza) })
      })
      await r.xmpp.send(xml('iq', { type: 'get', to: server.domain, id }, xml('query', 'urn:example:nobody-knows')))
      assert.equal((await answer).attrs.type, 'error')
      assert.equal(condition(await answer), 'service-unavailable')
    })

    test('the roster is kept, pushed and removed from', async () => {
      const item = xml('item', { jid: juliet.jid, name: 'Juliet' }, xml('group', {}, 'Capulets & Co'))
      const push = r.inbox.next((s) => s.is('iq') && s.attrs.type === 'set' && s.getChild('query', NS_ROSTER), 'roster push')
      await r.xmpp.iqCaller.set(xml('query', NS_ROSTER, item), undefined, 5000)
      const pushed = (await push).getChild('query').getChild('item')
      assert.equal(pushed.attrs.jid, juliet.jid)
      assert.equal(pushed.attrs.subscription ?? 'none', 'none')

      const roster = await r.xmpp.iqCaller.get(xml('query', NS_ROSTER), undefined, 5000)
      const kept = roster.getChildren('item').find((item) => item.attrs.jid === juliet.jid)
      assert.equal(kept?.attrs.name, 'Juliet')
      assert.equal(kept.getChildText('group'), 'Capulets & Co')

      await r.xmpp.iqCaller.set(xml('query', NS_ROSTER, xml('item', { jid: juliet.jid, subscription: 'remove' })), undefined, 5000)
      const empty = await r.xmpp.iqCaller.get(xml('query', NS_ROSTER), undefined, 5000)
      assert.deepEqual(empty.getChildren('item').map((item) => item.attrs.jid), [])
    })

    test('a subscription brings presence, and its end takes it away', async () => {
      await r.xmpp.send(xml('presence', { to: juliet.jid, type: 'subscribe', id: newId() }))
      const asked = await j.inbox.next((s) => s.is('presence') && s.attrs.type === 'subscribe', 'request at Juliet')
      assert.equal(asked.attrs.from, romeo.jid)
      await j.xmpp.send(xml('presence', { to: romeo.jid, type: 'subscribed', id: newId() }))
      await r.inbox.next((s) => s.is('presence') && s.attrs.type === 'subscribed', 'approval at Romeo')
      await r.inbox.next((s) => s.is('presence') && s.attrs.from === j.jid && !s.attrs.type, 'presence of Juliet')
      await j.xmpp.send(xml('presence', { id: newId() }, xml('show', {}, 'away'), xml('status', {}, 'in the orchard')))
      const away = await r.inbox.next((s) => s.is('presence') && s.attrs.from === j.jid && s.getChild('show'), 'away')
      assert.equal(away.getChildText('status'), 'in the orchard')
      await j.xmpp.send(xml('presence', { to: romeo.jid, type: 'unsubscribed', id: newId() }))
      await r.inbox.next((s) => s.is('presence') && s.attrs.type === 'unsubscribed', 'end of the subscription')
    })

    test('a message to a full JID that is gone: chat is kept, normal comes back as an error', { skip: xmppOnly && 'servers differ' }, async () => {
      const gone = `${juliet.jid}/gone`
      const id = await say(r, gone, 'anybody there?', { type: 'normal' })
      const error = await r.inbox.next((s) => s.is('message') && s.attrs.type === 'error' && s.attrs.id === id, 'error')
      assert.ok(['recipient-unavailable', 'service-unavailable'].includes(condition(error)), String(error))
      assert.equal(error.attrs.from, gone)
      await say(r, gone, 'chat to a lost resource')
      await j.inbox.next(isMessage('chat to a lost resource'), 'chat message, re-addressed to the account')
    })

    test('the stream closes in order when the client stops', async () => {
      const s = await connect(romeo, transport.service)
      const closed = new Promise((resolve) => s.xmpp.on('close', () => resolve('closed')))
      await s.xmpp.stop()
      const timeout = new Promise((resolve) => setTimeout(resolve, 3000, 'no </stream:stream> or <close/> in answer').unref())
      assert.equal(await Promise.race([closed, timeout]), 'closed')
    })
  })
}
