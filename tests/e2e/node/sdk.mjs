// The official QuickBlox SDK from npm, unmodified, as the suites use it: only its endpoints changed.
//
// The SDK swallows what its listeners throw, so listeners only put what they got into an inbox; the tests assert.

import './reconnect.cjs'
import QB from 'quickblox'
import { server, Inbox } from './world.mjs'

/** Every connection that was made; a suite ends them all. */
export const open = []

/** A new SDK instance, as one browser tab or one process of an app would have; keys and configuration are global to all. */
export function sdk (overrides = {}) {
  const instance = new QB.QuickBlox()
  const { secret, ...config } = { secret: server.authSecret ?? 'none', ...overrides }
  // `init` greets its programmer on the console, every time.
  const { log, warn } = console
  console.log = console.warn = () => {}
  try {
    instance.init(server.appId, server.authKey ?? 'none', secret, {
      endpoints: { api: `${server.host}:${server.httpsPort}`, chat: server.domain },
      ...config
    })
  } finally {
    Object.assign(console, { log, warn })
  }
  return instance
}

/** `call(sdk.users, 'get', 7)` → a promise of what the SDK gives its callback. */
export async function call (module, method, ...args) {
  try {
    return await callOnce(module, method, ...args)
  } catch (error) {
    // The SDK draws its nonces from ten thousand, and other tests ask for application sessions in the same second.
    if (method !== 'createSession' || error.sdk?.message?.errors?.base?.[0] !== 'Bad timestamp') throw error
    return callOnce(module, method, ...args)
  }
}

function callOnce (module, method, ...args) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${method}: the SDK never called back`)), 10_000)
    module[method](...args, (error, result) => {
      clearTimeout(late)
      if (error) reject(Object.assign(new Error(`${method}: ${JSON.stringify(error)}`), { sdk: error }))
      else resolve(result)
    })
  })
}

export const TRANSPORTS = {
  'TCP with STARTTLS': (options) => { options.host = server.host; options.port = server.xmppPort },
  WebSocket: (options) => { options.websocket = { url: server.websocket } },
  BOSH: (options) => { options.bosh = { url: server.bosh } }
}

/** Connects `user` to the chat; every callback of the SDK lands in `inbox` as `{kind, …}`. */
export async function connect (user, transport, { password = user.password } = {}) {
  const instance = sdk()
  TRANSPORTS[transport](instance.chat.Client.options)
  const inbox = new Inbox()
  const note = (kind, ...names) => (...values) => {
    const item = { kind, toString: () => JSON.stringify(item, (key, value) => key === 'parent' ? undefined : value) }
    names.forEach((name, at) => { item[name] = values[at] })
    inbox.push(item)
  }
  const chat = instance.chat
  chat.onMessageListener = note('message', 'userId', 'message')
  chat.onMessageErrorListener = note('message error', 'messageId', 'error')
  chat.onMessageTypingListener = note('typing', 'isTyping', 'userId', 'dialogId')
  chat.onDeliveredStatusListener = note('delivered', 'messageId', 'dialogId', 'userId')
  chat.onReadStatusListener = note('read', 'messageId', 'dialogId', 'userId')
  chat.onSystemMessageListener = note('system', 'message')
  chat.onContactListListener = note('contact', 'userId', 'type')
  chat.onSubscribeListener = note('subscribe', 'userId')
  chat.onConfirmSubscribeListener = note('confirmed', 'userId')
  chat.onRejectSubscribeListener = note('rejected', 'userId')
  chat.onLastUserActivityListener = note('last activity', 'userId', 'seconds')
  chat.onJoinOccupant = note('joined', 'dialogId', 'userId')
  chat.onLeaveOccupant = note('left', 'dialogId', 'userId')
  chat.onKickOccupant = note('kicked', 'dialogId', 'byUserId')
  const connection = { sdk: instance, chat, inbox, user, leave: () => leave(chat) }
  open.push(connection)
  connection.roster = await call(chat, 'connect', { userId: user.id, password })
  await settled(connection)
  return connection
}

/** Waits until the server has taken in all that was sent before: same stream, same order. */
export function settled ({ chat }) {
  return new Promise((resolve, reject) => chat.ping((error) => error ? reject(new Error(`ping: ${error}`)) : resolve()))
}

/** Ends a connection, whatever its state: unasked, the SDK would try again and again, and this process would never end. */
export async function leave (chat) {
  try {
    chat.disconnect()
  } catch (error) {
    if (error.message !== 'not opened') throw error // What its WebSocket says when it is closed already.
  }
  // Until the server has seen the end, what is sent to the account goes to the old connection.
  await new Promise((resolve) => setTimeout(resolve, 300))
}

export const isKind = (kind, more = () => true) => (item) => item.kind === kind && more(item)
export const isBody = (body) => isKind('message', (item) => item.message.body === body)
