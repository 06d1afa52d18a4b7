// What an administrator announces (XEP-0133), given with @xmpp/client and heard with the official QuickBlox SDK, which throws at headlines
// that are not made for it. The configuration names the first user of the app.

import { test, describe, before, after } from 'node:test'
import assert from 'node:assert/strict'
import { client, xml } from '@xmpp/client'
import { server, newUser } from './world.mjs'
import { connect, settled, open, TRANSPORTS, isKind } from './sdk.mjs'

const NS_COMMANDS = 'http://jabber.org/protocol/commands'
const NS_FORM = 'jabber:x:data'
const NODE = 'http://jabber.org/protocol/admin#announce'

let admin, xmpp

before(async () => {
  admin = await newUser('admin')
  assert.equal(admin.id, 1)
  xmpp = client({ service: server.websocket, domain: server.domain, username: admin.node, password: admin.password })
  xmpp.reconnect.stop()
  xmpp.on('error', () => {})
  await xmpp.start()
})

after(async () => {
  await xmpp.stop()
  await Promise.all(open.map((connection) => connection.leave()))
})

const command = async (attributes, ...children) => {
  const iq = xml('iq', { type: 'set', to: server.domain }, xml('command', { xmlns: NS_COMMANDS, node: NODE, ...attributes }, ...children))
  return (await xmpp.iqCaller.request(iq, 8000)).getChild('command', NS_COMMANDS)
}

const announce = async (text) => {
  const { attrs: { sessionid } } = await command({ action: 'execute' })
  const form = xml('x', { xmlns: NS_FORM, type: 'submit' }, xml('field', { var: 'announcement' }, xml('value', {}, text)))
  const done = await command({ action: 'complete', sessionid }, form)
  assert.equal(done.attrs.status, 'completed')
}

for (const transport of Object.keys(TRANSPORTS)) {
  describe(`QuickBlox SDK over ${transport}`, { timeout: 60_000 }, () => {
    test('hears an announcement as a system message, and goes on', async () => {
      const [alice, bob] = await Promise.all(['alice', 'bob'].map((name) => newUser(name)))
      const [a, b] = [await connect(alice, transport), await connect(bob, transport)]
      await announce(`The gates close ${transport}.`)
      const heard = await a.inbox.next(isKind('system'), 'the announcement')
      assert.equal(heard.message.body, `The gates close ${transport}.`)
      // The sender is no user.
      assert.equal(heard.message.userId, null)
      await settled(a)
      await a.inbox.never(isKind('message'), 'a message')
      b.chat.send(alice.id, { type: 'chat', body: 'still there' })
      await a.inbox.next(isKind('message', (item) => item.message.body === 'still there'), 'what is said afterwards')
    })
  })
}
