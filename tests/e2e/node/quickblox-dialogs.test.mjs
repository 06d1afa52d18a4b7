// Dialogs, history, markers and rooms with the official QuickBlox SDK: the same records over REST and over XMPP.

import { test, describe, before, after } from 'node:test'
import assert from 'node:assert/strict'
import { server, xmppOnly, newUser, rest, session } from './world.mjs'
import { sdk, call, connect, settled, open, TRANSPORTS, isKind, isBody } from './sdk.mjs'

after(() => Promise.all(open.map((connection) => connection.leave())))

const PRIVATE = 3
const GROUP = 2
const PUBLIC = 1
const NONE = '53aaa06f535c12cea9007496'

/** An SDK instance with a REST session of a new user. */
async function member (stem) {
  const user = await newUser(stem)
  const instance = sdk()
  await call(instance, 'createSession', { login: user.login, password: user.password })
  return { ...user, sdk: instance, dialog: instance.chat.dialog, message: instance.chat.message }
}

/** Asks again and again until the answer is as it should be: what others cause arrives a moment later. */
async function eventually (ask, good, what) {
  const deadline = Date.now() + 3000
  for (;;) {
    const answer = await ask()
    if (good(answer)) return answer
    if (Date.now() > deadline) throw new Error(`${what}: ${JSON.stringify(answer)}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

const refusedWith = (code) => ({ sdk: error }) => {
  assert.equal(error.code, code, JSON.stringify(error))
  return true
}

const list = async (one, params = {}) => (await call(one.dialog, 'list', params)).items
const history = async (one, dialog, params = {}) =>
  (await call(one.message, 'list', { chat_dialog_id: dialog, mark_as_read: 0, ...params })).items

describe('QuickBlox SDK: dialogs and history over REST', { skip: xmppOnly && 'no REST API here', timeout: 120_000 }, () => {
  let alice, bob, carol, dave

  before(async () => {
    [alice, bob, carol, dave] = await Promise.all(['alice', 'bob', 'carol', 'dave'].map(member))
  })

  const group = (fields = {}) =>
    call(alice.dialog, 'create', { type: GROUP, name: 'Lunch', occupants_ids: [bob.id, carol.id], ...fields })

  test('dialog.create makes a group with every field', async () => {
    const made = await group({ photo: '674', data: { class_name: 'CoolDialog', category: 'friends' } })
    assert.match(made._id, /^[0-9a-f]{24}$/)
    assert.match(made.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    assert.deepEqual(made.occupants_ids, [alice.id, bob.id, carol.id].sort((a, b) => a - b))
    assert.equal(made.xmpp_room_jid, `${server.appId}_${made._id}@muc.${server.domain}`)
    assert.deepEqual(made.data, { class_name: 'CoolDialog', category: 'friends' })
    const { name, photo, type, user_id: owner, unread_messages_count: unread, last_message: last } = made
    assert.deepEqual({ name, photo, type, owner, unread, last },
      { name: 'Lunch', photo: '674', type: GROUP, owner: alice.id, unread: 0, last: null })
    const seen = await eventually(() => list(bob, { _id: made._id }), (items) => items.length === 1, 'the group at Bob')
    assert.deepEqual(seen[0], made)
    await assert.rejects(group({ occupants_ids: [999999999] }), refusedWith(422))
    await assert.rejects(group({ name: '' }), refusedWith(422))
  })

  test('two users have one private dialog, named after the other', async () => {
    const made = await call(alice.dialog, 'create', { type: PRIVATE, occupants_ids: [bob.id] })
    assert.equal(made.name, 'bob')
    assert.equal(made.xmpp_room_jid, null)
    const again = await call(bob.dialog, 'create', { type: PRIVATE, occupants_ids: [alice.id] })
    assert.equal(again._id, made._id)
    assert.equal(again.name, 'alice')
    await assert.rejects(call(alice.dialog, 'create', { type: PRIVATE, occupants_ids: [alice.id] }), refusedWith(422))
    await assert.rejects(call(alice.dialog, 'create', { type: PRIVATE, occupants_ids: [bob.id, carol.id] }), refusedWith(422))
  })

  test('dialog.update adds, removes and renames, by those who may', async () => {
    const { _id: id } = await group()
    const added = await call(bob.dialog, 'update', id, { push_all: { occupants_ids: [dave.id] } })
    assert.ok(added.occupants_ids.includes(dave.id))
    await assert.rejects(call(bob.dialog, 'update', id, { pull_all: { occupants_ids: [dave.id] } }), refusedWith(403))
    const renamed = await call(alice.dialog, 'update', id, { name: 'Supper', pull_all: { occupants_ids: [dave.id] } })
    assert.equal(renamed.name, 'Supper')
    assert.ok(!renamed.occupants_ids.includes(dave.id))
    await assert.rejects(call(dave.dialog, 'update', id, { name: 'Mine' }), refusedWith(403))
    const left = await call(carol.dialog, 'update', id, { pull_all: { occupants_ids: [carol.id] } })
    assert.deepEqual(left.occupants_ids, [alice.id, bob.id].sort((a, b) => a - b))
    assert.deepEqual((await list(carol)).filter((dialog) => dialog._id === id), [])
  })

  test('dialog.list filters, sorts, pages and counts', async () => {
    const erin = await member('erin')
    const ids = []
    for (const name of ['one', 'two', 'three']) {
      ids.push((await call(erin.dialog, 'create', { type: GROUP, name, occupants_ids: [bob.id] }))._id)
    }
    const page = await call(erin.dialog, 'list', { type: GROUP, limit: 2, sort_asc: 'name' })
    assert.deepEqual(page.items.map(({ name }) => name), ['one', 'three'])
    assert.deepEqual([page.total_entries, page.skip, page.limit], [3, 0, 2])
    const named = await list(erin, { _id: { in: [ids[0], ids[2], NONE] }, sort_desc: 'created_at' })
    assert.deepEqual(named.map(({ _id }) => _id).sort(), [ids[0], ids[2]].sort())
    assert.deepEqual((await list(erin, { name: { ctn: 'TW' } })).map(({ name }) => name), ['two'])
    assert.deepEqual(await call(erin.dialog, 'list', { type: { in: [GROUP, PRIVATE] }, count: 1 }), { items: { count: 3 } })
    await assert.rejects(list(erin, { type: { near: 2 } }), ({ sdk: error }) => {
      assert.equal(error.code, 422)
      assert.deepEqual(error.detail, ['Unknown operator near for type'])
      return true
    })
  })

  test('dialog.delete: one, several with their three lists, and for all', async () => {
    const [one, two, three] = (await Promise.all([group(), group(), group()])).map(({ _id }) => _id)
    await call(bob.dialog, 'delete', [one])
    assert.ok((await list(bob)).every(({ _id }) => _id !== one))
    assert.equal((await list(alice, { _id: one })).length, 1)
    const lists = JSON.parse(await call(bob.dialog, 'delete', [one, two, NONE]))
    assert.deepEqual(lists, { SuccessfullyDeleted: { ids: [two] }, WrongPermissions: { ids: [one] }, NotFound: { ids: [NONE] } })
    await assert.rejects(call(bob.dialog, 'delete', [three], { force: 1 }), refusedWith(403))
    await call(alice.dialog, 'delete', [three], { force: 1 })
    await assert.rejects(history(bob, three), refusedWith(404))
  })

  test('message.create keeps attachments and custom parameters, and message.list reads', async () => {
    const { _id: id } = await group()
    const made = await call(alice.message, 'create', {
      chat_dialog_id: id, message: 'hello!', attachments: [{ type: 'image', id: '47863' }], age: '25'
    })
    assert.deepEqual(made.attachments, [{ id: '47863', type: 'image' }])
    assert.deepEqual([made.message, made.age, made.sender_id, made.recipient_id], ['hello!', '25', alice.id, 0])
    assert.deepEqual(await call(bob.message, 'unreadCount', { chat_dialog_ids: [id] }).then((counts) => counts[id]), 1)
    const [dialog] = await list(bob, { _id: id })
    assert.deepEqual([dialog.last_message, dialog.last_message_user_id, dialog.unread_messages_count], ['hello!', alice.id, 1])
    assert.deepEqual((await history(bob, id))[0].read_ids, [alice.id])
    const page = await call(bob.message, 'list', { chat_dialog_id: id, sort_desc: 'date_sent', limit: 10, skip: 0 })
    assert.deepEqual(page.items[0].read_ids, [alice.id, bob.id].sort((a, b) => a - b))
    assert.equal(page.total_entries, undefined)
    assert.deepEqual(await call(bob.message, 'unreadCount', { chat_dialog_ids: [id] }).then((counts) => counts[id]), 0)
    await assert.rejects(history(dave, id), refusedWith(403))
    assert.equal((await history(bob, id, { 'attachments.type': 'image' })).length, 1)
    assert.equal((await history(bob, id, { sender_id: { nin: [alice.id] } })).length, 0)
  })

  test('message.update marks, unmarks and edits; message.delete hides or removes', async () => {
    const { _id: id } = await group()
    const ids = []
    for (const message of ['m0', 'm1', 'm2']) {
      ids.push((await call(alice.message, 'create', { chat_dialog_id: id, message }))._id)
    }
    const unread = async () => (await call(bob.message, 'unreadCount', { chat_dialog_ids: [id] }))[id]
    await call(bob.message, 'update', ids[0], { chat_dialog_id: id, read: 1 })
    assert.equal(await unread(), 2)
    await call(bob.message, 'update', ids[0], { chat_dialog_id: id, read: 0 })
    assert.equal(await unread(), 3)
    await call(bob.message, 'update', '', { chat_dialog_id: id, read: 1 })
    assert.equal(await unread(), 0)
    await call(alice.message, 'update', ids[2], { chat_dialog_id: id, message: 'edited' })
    await assert.rejects(call(bob.message, 'update', ids[2], { chat_dialog_id: id, message: 'no' }), refusedWith(403))
    assert.equal((await list(bob, { _id: id }))[0].last_message, 'edited')
    await call(bob.message, 'delete', [ids[0]])
    assert.deepEqual((await history(bob, id)).map(({ message }) => message), ['m1', 'edited'])
    assert.equal((await history(alice, id)).length, 3)
    const lists = JSON.parse(await call(alice.message, 'delete', [ids[2], NONE, 'notExistentId'], { force: 1 }))
    assert.deepEqual(lists.SuccessfullyDeleted, { ids: [ids[2]] })
    assert.deepEqual([...lists.NotFound.ids].sort(), [NONE, 'notExistentId'].sort())
    assert.equal((await list(bob, { _id: id }))[0].last_message, 'm1')
  })

  test('unreadCount totals over all dialogs', async () => {
    const frank = await member('frank')
    const { _id: id } = await group({ occupants_ids: [frank.id] })
    for (const message of ['a', 'b']) await call(alice.message, 'create', { chat_dialog_id: id, message })
    const { chat_dialog_id: own } = await call(alice.message, 'create', { recipient_id: frank.id, message: 'c' })
    const want = { total: 3, [id]: 2, [own]: 1, [NONE]: 0 }
    const ask = () => call(frank.message, 'unreadCount', { chat_dialog_ids: [id, own, NONE] })
    assert.deepEqual(await eventually(ask, ({ total }) => total === 3, 'unread'), want)
    assert.deepEqual(await call(frank.message, 'unreadCount', {}), { total: 3 })
  })

  test('public dialogs are in the lists of all and mark nobody', async () => {
    const made = await call(alice.dialog, 'create', { type: PUBLIC, name: `Square ${alice.login}` })
    assert.deepEqual(made.occupants_ids, [])
    await call(dave.message, 'create', { chat_dialog_id: made._id, message: 'hi all' })
    const found = await eventually(() => list(bob, { name: made.name }), (items) => items.length === 1, 'the dialog at Bob')
    assert.deepEqual([found[0].last_message, found[0].unread_messages_count], ['hi all', 0])
    const page = await call(bob.message, 'list', { chat_dialog_id: made._id })
    assert.deepEqual(page.items[0].read_ids, [])
    await call(alice.dialog, 'delete', [made._id], { force: 1 })
    assert.equal((await list(alice, { name: made.name })).length, 0)
  })

  test('notification settings are a user’s own', async () => {
    const { _id: id } = await group()
    const token = await session({ login: bob.login, password: bob.password })
    const path = `/chat/Dialog/${id}/notifications.json`
    assert.deepEqual((await rest('GET', path, { token })).body, { notifications: { enabled: 1 } })
    assert.deepEqual((await rest('PUT', path, { token, body: { enabled: '0' } })).body, { notifications: { enabled: 0 } })
    assert.deepEqual((await rest('GET', path, { token })).body, { notifications: { enabled: 0 } })
  })
})

for (const transport of Object.keys(TRANSPORTS)) {
  describe(`QuickBlox SDK: history and rooms over ${transport}`, { skip: xmppOnly && 'no REST API here', timeout: 120_000 }, () => {
    let alice, bob, carol, a, b

    before(async () => {
      [alice, bob, carol] = await Promise.all(['alice', 'bob', 'carol'].map(member))
      a = await connect(alice, transport)
      b = await connect(bob, transport)
    })

    const saved = (extension = {}) => ({ save_to_history: 1, ...extension })
    const room = (dialog) => `${server.appId}_${dialog}@muc.${server.domain}`
    const group = () => call(alice.dialog, 'create', { type: GROUP, name: 'Room', occupants_ids: [bob.id] })
    const join = (connection, dialog) => call(connection.chat.muc, 'join', room(dialog))

    test('a saved message makes the dialog, and is in its history as it was delivered', async () => {
      const id = a.chat.send(bob.id, { type: 'chat', body: 'keep <this> & that', markable: 1, extension: saved({ age: '25', sender_id: '1' }) })
      const got = await b.inbox.next(isBody('keep <this> & that'), 'saved message')
      assert.equal(got.message.id, id)
      assert.match(got.message.dialog_id, /^[0-9a-f]{24}$/)
      const dialog = got.message.dialog_id
      const [kept] = await history(bob, dialog)
      assert.deepEqual([kept._id, kept.message, kept.age, kept.sender_id, kept.recipient_id],
        [id, 'keep <this> & that', '25', alice.id, bob.id])
      assert.ok(Math.abs(kept.date_sent - Date.now() / 1000) < 10)
      for (const one of [alice, bob]) {
        const [listed] = await eventually(() => list(one, { _id: dialog }), (items) => items.length === 1, 'the new dialog')
        assert.deepEqual([listed.last_message, listed.last_message_id], ['keep <this> & that', id])
      }
      await a.inbox.next(isKind('delivered', ({ messageId }) => messageId === id), 'delivered status')
      b.chat.sendReadStatus({ messageId: id, userId: alice.id, dialogId: dialog })
      await a.inbox.next(isKind('read', ({ messageId }) => messageId === id), 'read status')
      const marked = await eventually(() => history(alice, dialog), ([item]) => item.read === 1, 'the mark')
      assert.deepEqual(marked[0].read_ids, [alice.id, bob.id].sort((one, two) => one - two))
      assert.deepEqual(marked[0].delivered_ids, marked[0].read_ids)
    })

    test('what is not to be saved leaves no trace', async () => {
      const before = (await list(alice)).length
      a.chat.send(carol.id, { type: 'chat', body: 'forget me' })
      await settled(a)
      assert.equal((await list(alice)).length, before)
    })

    test('a message over REST goes to chat when that is asked', async () => {
      const sent = await call(alice.message, 'create', {
        recipient_id: bob.id, message: 'from REST', send_to_chat: 1, markable: 1, attachments: [{ type: 'image', id: '7' }], age: '26'
      })
      const got = await b.inbox.next(isBody('from REST'), 'message from REST')
      assert.deepEqual([got.userId, got.message.id, got.message.dialog_id], [alice.id, sent._id, sent.chat_dialog_id])
      assert.equal(got.message.extension.age, '26')
      assert.deepEqual(got.message.extension.attachments.map(({ type, id }) => [type, id]), [['image', '7']])
      await call(alice.message, 'create', { recipient_id: bob.id, message: 'history only' })
      await b.inbox.never(isBody('history only'), 'message that was only to be kept')
    })

    test('a group is a room: join, talk, history, who is there', async () => {
      const { _id: dialog } = await group()
      await join(a, dialog)
      await join(b, dialog)
      assert.equal((await a.inbox.next(isKind('joined', ({ dialogId }) => dialogId === dialog), 'Bob coming in')).userId, bob.id)
      const id = b.chat.send(room(dialog), { type: 'groupchat', body: 'hello room', extension: saved({ dialog_id: dialog }) })
      for (const one of [a, b]) {
        const got = await one.inbox.next(isBody('hello room'), 'group message')
        assert.deepEqual([got.userId, got.message.id, got.message.dialog_id, got.message.type], [bob.id, id, dialog, 'groupchat'])
      }
      const [kept] = await history(alice, dialog)
      assert.deepEqual([kept._id, kept.sender_id, kept.recipient_id], [id, bob.id, 0])
      const online = await new Promise((resolve) => a.chat.muc.listOnlineUsers(room(dialog), resolve))
      assert.deepEqual(online.sort((one, two) => one - two), [alice.id, bob.id].sort((one, two) => one - two))
      const sent = await call(alice.message, 'create', { chat_dialog_id: dialog, message: 'REST to room', send_to_chat: 1 })
      const heard = await b.inbox.next(isBody('REST to room'), 'message from REST in the room')
      assert.deepEqual([heard.userId, heard.message.id], [alice.id, sent._id])
      b.chat.muc.leave(room(dialog), () => {})
      assert.equal((await a.inbox.next(isKind('left', ({ dialogId }) => dialogId === dialog), 'Bob leaving')).userId, bob.id)
    })

    test('strangers do not get in, and who is added over REST does at once', async () => {
      const { _id: dialog } = await group()
      const c = await connect(carol, transport)
      await assert.rejects(join(c, dialog), /join: /)
      await call(alice.dialog, 'update', dialog, { push_all: { occupants_ids: [carol.id] } })
      await join(c, dialog)
      await call(alice.dialog, 'update', dialog, { pull_all: { occupants_ids: [carol.id] } })
      const kicked = await c.inbox.next(isKind('kicked'), 'the kick')
      assert.equal(kicked.dialogId, dialog)
      await assert.rejects(join(c, dialog), /join: /)
      await assert.rejects(history(carol, dialog), refusedWith(403))
      await c.leave()
    })

    test('a markable group message is marked by its readers', async () => {
      const { _id: dialog } = await group()
      await join(a, dialog)
      await join(b, dialog)
      const id = a.chat.send(room(dialog), { type: 'groupchat', body: 'mark me, all', markable: 1, extension: saved({ dialog_id: dialog }) })
      await b.inbox.next(isBody('mark me, all'), 'group message')
      b.chat.sendReadStatus({ messageId: id, userId: alice.id, dialogId: dialog })
      await a.inbox.next(isKind('read', ({ messageId }) => messageId === id), 'read status')
      const [kept] = await eventually(() => history(alice, dialog), ([item]) => item.read_ids.length === 2, 'the mark')
      assert.equal(kept.read, 0, 'the old flag is for private dialogs')
    })

    test('system messages are never kept', async () => {
      const before = (await call(bob.message, 'unreadCount', {})).total
      a.chat.sendSystemMessage(bob.id, { extension: saved({ notification_type: '1' }) })
      await b.inbox.next(isKind('system'), 'system message')
      assert.equal((await call(bob.message, 'unreadCount', {})).total, before)
    })

    after(() => Promise.all([a, b].map((connection) => connection?.leave())))
  })
}
