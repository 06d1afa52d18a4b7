// The official QuickBlox SDK from npm, unmodified, only its endpoints changed: REST, then chat over each transport it has
// in Node. What it needs from a server to the letter is in `quickblox-wire.md`; a failure here is a failure of real apps.

import { test, describe, before, after } from 'node:test'
import assert from 'node:assert/strict'
import { server, xmppOnly, newUser, freshName, rest, session } from './world.mjs'
import { sdk, call, connect, settled, open, TRANSPORTS, isKind, isBody } from './sdk.mjs'

after(() => Promise.all(open.map((connection) => connection.leave())))

describe('QuickBlox SDK over REST', { skip: xmppOnly && 'ROOKERY_USERS: no REST API here', timeout: 60_000 }, () => {
  let app

  before(async () => {
    app = sdk()
    await call(app, 'createSession')
  })

  test('createSession gives an application session', async () => {
    const made = await call(sdk(), 'createSession')
    assert.match(made.token, /^[0-9a-f]{40}$/)
    assert.equal(made.application_id, server.appId)
    assert.equal(made.user_id, 0)
    assert.match(made.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
  })

  test('createSession signs with SHA-256 too', async () => {
    const making = call(sdk({ hash: 'sha256' }), 'createSession')
    sdk({ hash: 'sha1' })
    assert.match((await making).token, /^[0-9a-f]{40}$/)
  })

  test('createSession with a wrong secret fails with "Unexpected signature"', async () => {
    const failed = call(sdk({ secret: 'not-the-secret' }), 'createSession')
    sdk()
    await assert.rejects(failed, ({ sdk: error }) => {
      assert.equal(error.code, 422)
      assert.deepEqual(error.detail, { base: ['Unexpected signature'] })
      return true
    })
  })

  test('the SDK learns when its token ends from QB-Token-ExpirationDate', async () => {
    const instance = sdk()
    await call(instance, 'createSession')
    const ends = instance.service.qbInst.config.qbTokenExpirationDate
    const minutes = (ends.getTime() - Date.now()) / 60_000
    assert.ok(minutes > 100 && minutes < 125, `the token ends in ${minutes} minutes`)
  })

  test('users.create signs up, and the password is not in the answer', async () => {
    const login = freshName('signup')
    const user = await call(app.users, 'create', {
      login, password: 'Correct1horse', full_name: 'Sign Up', email: `${login}@example.com`, tag_list: 'dev,chat'
    })
    assert.ok(Number.isInteger(user.id))
    assert.equal(user.login, login)
    assert.equal(user.full_name, 'Sign Up')
    assert.equal(user.user_tags, 'dev,chat')
    assert.equal('password' in user, false)
  })

  test('users.create refuses a login that is taken, by field', async () => {
    const taken = await newUser('taken')
    await assert.rejects(call(app.users, 'create', { login: taken.login, password: 'Correct1horse' }), ({ sdk: error }) => {
      assert.equal(error.code, 422)
      assert.deepEqual(error.detail.login, ['has already been taken'])
      return true
    })
  })

  test('login ties the session to the user, logout unties it', async () => {
    const user = await newUser('login')
    const instance = sdk()
    await call(instance, 'createSession')
    const logged = await call(instance, 'login', { login: user.login, password: user.password })
    assert.equal(logged.id, user.id)
    assert.equal((await call(instance, 'getSession')).session.user_id, user.id)
    await call(instance, 'logout')
    assert.equal((await call(instance, 'getSession')).session.user_id, 0)
  })

  test('a wrong password is 401 Unauthorized', async () => {
    const user = await newUser('wrong')
    const instance = sdk()
    await call(instance, 'createSession')
    for (const attempt of [
      () => call(instance, 'login', { login: user.login, password: 'not-the-password' }),
      () => call(sdk(), 'createSession', { login: user.login, password: 'not-the-password' })
    ]) {
      await assert.rejects(attempt(), ({ sdk: error }) => {
        assert.equal(error.code, 401)
        assert.deepEqual(error.detail, ['Unauthorized'])
        return true
      })
    }
  })

  test('users.get finds by id, login and e-mail, and says so when there is nobody', async () => {
    const login = freshName('find')
    const made = await call(app.users, 'create', { login, password: 'Correct1horse', email: `${login}@example.com` })
    assert.equal((await call(app.users, 'get', made.id)).login, login)
    assert.equal((await call(app.users, 'get', { login })).id, made.id)
    assert.equal((await call(app.users, 'get', { email: `${login}@example.com` })).id, made.id)
    await assert.rejects(call(app.users, 'get', { login: freshName('nobody') }), ({ sdk: error }) => error.code === 404)
  })

  test('users.get finds by full name and by tags, a page at a time', async () => {
    const word = freshName('Xanthippe')
    const tag = freshName('tag').replace(/[^a-z0-9]/g, '')
    await call(app.users, 'create', { login: freshName('page'), password: 'Correct1horse', full_name: `Ms ${word}`, tag_list: tag })
    const byName = await call(app.users, 'get', { full_name: word })
    assert.equal(byName.total_entries, 1)
    assert.equal(byName.items[0].user.full_name, `Ms ${word}`)
    const byTag = await call(app.users, 'get', { tags: tag })
    assert.equal(byTag.items[0].user.user_tags, tag)
  })

  test('listUsers filters, orders and pages', async () => {
    const ids = []
    for (let n = 0; n < 3; n += 1) ids.push((await newUser('list')).id)
    const page = await call(app.users, 'listUsers', {
      filter: { field: 'id', param: 'in', value: ids }, order: { field: 'id', sort: 'desc' }, per_page: 2, page: 1
    })
    assert.equal(page.total_entries, 3)
    assert.equal(page.per_page, 2)
    assert.equal(page.current_page, 1)
    assert.deepEqual(page.items.map((item) => item.user.id), [...ids].sort((a, b) => b - a).slice(0, 2))
    const both = await call(app.users, 'listUsers', {
      filter: [{ field: 'id', param: 'ge', value: ids[1] }, { field: 'id', param: 'in', value: ids }]
    })
    assert.deepEqual(both.items.map((item) => item.user.id).sort(), ids.filter((id) => id >= ids[1]).sort())
  })

  test('users.update changes oneself and nobody else', async () => {
    const user = await newUser('update')
    const other = await newUser('other')
    const instance = sdk()
    await call(instance, 'createSession', { login: user.login, password: user.password })
    const changed = await call(instance.users, 'update', user.id, { full_name: 'Näme & Co', custom_data: '{"mood":"\u{1F426}"}' })
    assert.equal(changed.full_name, 'Näme & Co')
    assert.equal(changed.custom_data, '{"mood":"\u{1F426}"}')
    await assert.rejects(call(instance.users, 'update', other.id, { full_name: 'Mallory' }), ({ sdk: error }) => error.code === 403)
  })

  test('a password is changed with the old one', async () => {
    const user = await newUser('pass')
    const instance = sdk()
    await call(instance, 'createSession', { login: user.login, password: user.password })
    await call(instance.users, 'update', user.id, { password: 'Another1horse', old_password: user.password })
    assert.equal((await call(sdk(), 'createSession', { login: user.login, password: 'Another1horse' })).user_id, user.id)
    await assert.rejects(call(sdk(), 'createSession', { login: user.login, password: user.password }), ({ sdk: error }) => error.code === 401)
  })

  test('users.delete removes the account', async () => {
    const user = await newUser('delete')
    const instance = sdk()
    await call(instance, 'createSession', { login: user.login, password: user.password })
    await call(instance.users, 'delete', user.id)
    await assert.rejects(call(app.users, 'get', user.id), ({ sdk: error }) => error.code === 404)
  })

  test('a destroyed session is 401 in the words the SDK looks for, and it fires sessionExpired', async () => {
    const instance = sdk()
    const dead = await call(instance, 'createSession')
    await call(instance, 'destroySession')
    instance.service.setSession(dead)
    let fired = 0
    const config = instance.service.qbInst.config
    config.on.sessionExpired = (next) => { fired += 1; next() }
    try {
      await assert.rejects(call(instance.users, 'listUsers', {}), ({ sdk: error }) => {
        assert.equal(error.code, 401)
        assert.deepEqual(error.message, { errors: { base: ['Required session does not exist'] } })
        return true
      })
    } finally {
      config.on.sessionExpired = null
    }
    assert.equal(fired, 1)
  })
})

for (const transport of Object.keys(TRANSPORTS)) {
  describe(`QuickBlox SDK chat over ${transport}`, { timeout: 90_000 }, () => {
    let alice, bob, a, b

    before(async () => {
      alice = await newUser('alice')
      bob = await newUser('bob')
      a = await connect(alice, transport)
      b = await connect(bob, transport)
    })

    test('connect gives the (empty) roster', () => {
      assert.deepEqual(a.roster, {})
      assert.equal(a.chat.isConnected, true)
    })

    test('messages go both ways, extension and id as sent', async () => {
      const id = a.chat.send(bob.id, { type: 'chat', body: 'hello Bob', extension: { age: '25', dialog_id: '53aadc78535c127f15009b6c' } })
      const there = await b.inbox.next(isBody('hello Bob'), 'message to Bob')
      assert.equal(there.userId, alice.id)
      assert.equal(there.message.id, id)
      assert.equal(there.message.type, 'chat')
      assert.equal(there.message.dialog_id, '53aadc78535c127f15009b6c')
      assert.equal(there.message.extension.age, '25')
      assert.ok(!there.message.delay)
      b.chat.send(alice.id, { type: 'chat', body: 'hello "Alice" <&> \u{1F426}' })
      const back = await a.inbox.next(isBody('hello "Alice" <&> \u{1F426}'), 'answer to Alice')
      assert.equal(back.userId, bob.id)
    })

    test('a markable message is reported delivered by the SDK itself, then read', async () => {
      const dialog = '53aadc78535c127f15009b6d'
      const id = a.chat.send(bob.id, { type: 'chat', body: 'mark me', markable: 1, extension: { dialog_id: dialog } })
      const got = await b.inbox.next(isBody('mark me'), 'message')
      assert.equal(got.message.markable, 1)
      const delivered = await a.inbox.next(isKind('delivered'), 'delivered status')
      assert.deepEqual([delivered.messageId, delivered.dialogId, delivered.userId], [id, dialog, bob.id])
      b.chat.sendReadStatus({ messageId: id, userId: alice.id, dialogId: dialog })
      const read = await a.inbox.next(isKind('read'), 'read status')
      assert.deepEqual([read.messageId, read.dialogId, read.userId], [id, dialog, bob.id])
    })

    test('another device of the sender has a copy of what was sent', async () => {
      const other = await connect(alice, transport)
      const id = a.chat.send(bob.id, { type: 'chat', body: 'from one of two', extension: { dialog_id: '53aadc78535c127f15009b6f' } })
      await b.inbox.next(isBody('from one of two'), 'message to Bob')
      // In Node the SDK (2.16 to 2.23) finds what was copied, but hands on an element in place of its text.
      const isCopy = isKind('message', ({ message }) => message.body?.name === 'sent')
      const { userId, message } = await other.inbox.next(isCopy, 'copy (XEP-0280)')
      assert.deepEqual([userId, message.id], [alice.id, id])
      const copied = message.body.getChild('forwarded').getChild('message')
      assert.equal(copied.attrs.to.split('-')[0], String(bob.id))
      assert.equal(copied.getChildText('body'), 'from one of two')
      b.chat.send(alice.id, { type: 'chat', body: 'to both' })
      for (const device of [a, other]) assert.equal((await device.inbox.next(isBody('to both'), 'answer')).userId, bob.id)
      await other.leave()
    })

    test('typing and its end are passed on', async () => {
      a.chat.sendIsTypingStatus(bob.id)
      assert.equal((await b.inbox.next(isKind('typing'), 'typing')).isTyping, true)
      a.chat.sendIsStopTypingStatus(bob.id)
      const stopped = await b.inbox.next(isKind('typing'), 'end of typing')
      assert.deepEqual([stopped.isTyping, stopped.userId], [false, alice.id])
    })

    test('a system message arrives with its parameters', async () => {
      const id = a.chat.sendSystemMessage(bob.id, { extension: { notification_type: '1', dialog_id: '53aadc78535c127f15009b6e' } })
      const got = await b.inbox.next(isKind('system'), 'system message')
      assert.equal(got.message.id, id)
      assert.equal(got.message.userId, alice.id)
      assert.equal(got.message.extension.notification_type, '1')
    })

    test('ping of the server is answered', async () => {
      await settled(a)
    })

    test('last activity of somebody online is 0', { skip: xmppOnly && 'asks without a subscription' }, async () => {
      a.chat.getLastUserActivity(bob.id)
      const got = await a.inbox.next(isKind('last activity'), 'last activity')
      assert.deepEqual([got.userId, got.seconds], [bob.id, 0])
    })

    test('an offline message comes at the next connect, once, with a delay', async () => {
      const carol = await newUser('carol')
      const id = a.chat.send(carol.id, { type: 'chat', body: 'for later', extension: { age: '26' } })
      await settled(a)
      let c = await connect(carol, transport)
      const got = await c.inbox.next(isBody('for later'), 'offline message')
      assert.equal(got.message.id, id)
      assert.equal(got.userId, alice.id)
      assert.equal(got.message.extension.age, '26')
      assert.ok(got.message.delay, 'no <delay/>')
      await c.leave()
      c = await connect(carol, transport)
      await c.inbox.never(isBody('for later'), 'second copy')
      await c.leave()
    })

    test('contacts: add, confirm, presence both ways, going offline, remove', async () => {
      const dave = await newUser('dave')
      const erin = await newUser('erin')
      const d = await connect(dave, transport)
      let e = await connect(erin, transport)
      d.chat.roster.add(erin.id, () => {})
      assert.equal((await e.inbox.next(isKind('subscribe'), 'request at Erin')).userId, dave.id)
      e.chat.roster.confirm(dave.id, () => {})
      assert.equal((await d.inbox.next(isKind('confirmed'), 'confirmation at Dave')).userId, erin.id)
      await d.inbox.next(isKind('contact', (item) => item.userId === erin.id && !item.type), 'presence of Erin at Dave')
      await e.inbox.next(isKind('contact', (item) => item.userId === dave.id && !item.type), 'presence of Dave at Erin')

      await e.leave()
      await d.inbox.next(isKind('contact', (item) => item.userId === erin.id && item.type === 'unavailable'), 'Erin going')
      e = await connect(erin, transport)
      assert.equal(e.roster[dave.id]?.subscription, 'both', JSON.stringify(e.roster))
      await d.inbox.next(isKind('contact', (item) => item.userId === erin.id && !item.type), 'Erin coming back')
      await e.inbox.next(isKind('contact', (item) => item.userId === dave.id && !item.type), 'presence of Dave, probed')

      await new Promise((resolve) => d.chat.roster.remove(erin.id, resolve))
      await e.inbox.next(isKind('rejected', (item) => item.userId === dave.id), 'end of the subscription at Erin')
      await d.leave()
      await e.leave()
      const again = await connect(dave, transport)
      assert.deepEqual(again.roster, {})
      await again.leave()
    })

    test('contacts: a request that waited for its addressee can be rejected', async () => {
      const frank = await newUser('frank')
      const grace = await newUser('grace')
      const f = await connect(frank, transport)
      f.chat.roster.add(grace.id, () => {})
      await settled(f)
      const g = await connect(grace, transport)
      assert.equal((await g.inbox.next(isKind('subscribe'), 'request kept for Grace')).userId, frank.id)
      g.chat.roster.reject(frank.id, () => {})
      assert.equal((await f.inbox.next(isKind('rejected'), 'rejection at Frank')).userId, grace.id)
      await f.leave()
      await g.leave()
    })

    test('a session token is a password too', { skip: xmppOnly && 'no REST API here' }, async () => {
      const user = await newUser('token')
      const token = await session({ login: user.login, password: user.password })
      const t = await connect(user, transport, { password: token })
      assert.equal(t.chat.isConnected, true)
      await t.leave()
    })

    test('a token of somebody else, of the application, or of a session that ended is none', { skip: xmppOnly && 'no REST API here' }, async () => {
      const user = await newUser('token')
      const other = await newUser('token')
      const ended = await session({ login: user.login, password: user.password })
      assert.equal((await rest('DELETE', '/session.json', { token: ended })).status, 200)
      for (const token of [await session({ login: other.login, password: other.password }), await session(), ended]) {
        await assert.rejects(connect(user, transport, { password: token }), /connect: .*422/)
      }
      await Promise.all(open.filter((connection) => connection.user === user).map((connection) => connection.leave()))
    })

    test('a wrong password fails', async () => {
      await assert.rejects(connect(bob, transport, { password: 'not-the-password' }), /connect: .*422/)
      await open.at(-1).leave()
    })

    test('a message sent after the other has disconnected waits for the next connect', async () => {
      await b.leave()
      a.chat.send(bob.id, { type: 'chat', body: 'after you left' })
      await settled(a)
      b = await connect(bob, transport)
      await b.inbox.next(isBody('after you left'), 'message that waited')
      await b.leave()
      await a.leave()
    })
  })
}
