// Privacy lists as the official QuickBlox SDK keeps them: two items a user, one of them for rooms, made default and then active.

import { test, describe, before, after } from 'node:test'
import assert from 'node:assert/strict'
import { newUser } from './world.mjs'
import { call, connect, settled, open, TRANSPORTS, isKind, isBody } from './sdk.mjs'

after(() => Promise.all(open.map((connection) => connection.leave())))

for (const transport of Object.keys(TRANSPORTS)) {
  describe(`QuickBlox SDK privacy lists over ${transport}`, { timeout: 90_000 }, () => {
    let alice, bob, carol, a, b, lists

    before(async () => {
      [alice, bob, carol] = await Promise.all(['alice', 'bob', 'carol'].map((name) => newUser(name)))
      a = await connect(alice, transport)
      b = await connect(bob, transport)
      lists = a.chat.privacylist
    })

    const refused = (connection, body, to) => {
      const id = connection.chat.send(to.id, { type: 'chat', body })
      return connection.inbox.next(isKind('message error', (item) => item.messageId === id), `error for "${body}"`)
    }
    const nothing = async (connection) => {
      await settled(connection)
      await connection.inbox.never(isKind('message'), 'message')
    }

    test('there are none at first', async () => {
      assert.deepEqual(await call(lists, 'getNames'), { default: null, active: null, names: [] })
    })

    test('create, getList, getNames and update', async () => {
      await call(lists, 'create', { name: 'blocked', items: [{ user_id: bob.id, action: 'deny' }] })
      assert.deepEqual(await call(lists, 'getList', 'blocked'), { name: 'blocked', items: [{ user_id: bob.id, action: 'deny' }] })
      await call(lists, 'update', { name: 'blocked', items: [{ user_id: carol.id, action: 'deny' }] })
      const { items } = await call(lists, 'getList', 'blocked')
      assert.deepEqual(new Map(items.map((item) => [item.user_id, item.action])), new Map([[bob.id, 'deny'], [carol.id, 'deny']]))
      assert.deepEqual(await call(lists, 'getNames'), { default: null, active: null, names: ['blocked'] })
    })

    test('who is denied is told that his message did not arrive', async () => {
      b.chat.send(alice.id, { type: 'chat', body: 'not yet in force' })
      await a.inbox.next(isBody('not yet in force'), 'message before the list is in force')
      await call(lists, 'setAsDefault', 'blocked')
      const { default: standard, active, names } = await call(lists, 'getNames')
      // In Node the SDK takes the other two elements for names of lists as well.
      assert.deepEqual([standard, active, new Set(names)], ['blocked', 'blocked', new Set(['blocked'])])
      await refused(b, 'let me in', alice)
      await nothing(a)
    })

    test('a mutual block keeps both from each other', async () => {
      await call(lists, 'create', { name: 'mutual', items: [{ user_id: bob.id, action: 'deny', mutualBlock: true }] })
      await call(lists, 'setAsDefault', 'mutual')
      await refused(b, 'let me in', alice)
      await refused(a, 'I blocked you', bob)
      await nothing(b)
    })

    test('what is not there is refused; without lists messages come again', async () => {
      await assert.rejects(call(lists, 'setAsDefault', 'none'))
      await call(lists, 'setAsDefault', '')
      await call(lists, 'delete', 'mutual')
      await call(lists, 'delete', 'blocked')
      await assert.rejects(call(lists, 'delete', 'blocked'))
      assert.deepEqual(await call(lists, 'getNames'), { default: null, active: null, names: [] })
      b.chat.send(alice.id, { type: 'chat', body: 'friends again' })
      await a.inbox.next(isBody('friends again'), 'message after all lists are gone')
    })
  })
}
