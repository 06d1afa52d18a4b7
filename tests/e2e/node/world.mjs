// Where the server under test is, and who may log in to it.
//
// Everything comes from the environment. The Rust harness (`tests/src/server.rs`) sets it; by hand, set the same names.
// With ROOKERY_USERS ("101:secret,102:secret,…") accounts are taken from there and nobody is signed up over REST, so the
// suites of plain XMPP run against any XMPP server whose accounts are called `101-APP`, `102-APP` and so on.

import { createHmac, webcrypto } from 'node:crypto'
import { request } from 'node:https'
import WebSocket from 'ws'

// The server's certificate is its own. Checked before any connection is made.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
process.removeAllListeners('warning')
process.on('warning', (warning) => {
  if (!/NODE_TLS_REJECT_UNAUTHORIZED|punycode|url\.parse/.test(warning.message)) console.warn(warning)
})

// What @xmpp/client expects to be global: WebSocket is so from Node 22 on, crypto from 20 on.
globalThis.WebSocket ??= WebSocket
globalThis.crypto ??= webcrypto

function need (name) {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: which server should be tested? (see tests/src/server.rs)`)
  return value
}

const host = process.env.ROOKERY_HOST ?? '127.0.0.1'

export const server = {
  host,
  domain: process.env.ROOKERY_DOMAIN ?? 'localhost',
  xmppPort: Number(need('ROOKERY_XMPP_PORT')),
  xmppsPort: Number(need('ROOKERY_XMPPS_PORT')),
  websocket: process.env.ROOKERY_WS_URL ?? `wss://${host}:${need('ROOKERY_WS_PORT')}/`,
  bosh: process.env.ROOKERY_BOSH_URL ?? `https://${host}:${need('ROOKERY_BOSH_PORT')}/`,
  httpsPort: Number(process.env.ROOKERY_HTTPS_PORT ?? 0),
  appId: Number(need('ROOKERY_APP_ID')),
  authKey: process.env.ROOKERY_AUTH_KEY,
  authSecret: process.env.ROOKERY_AUTH_SECRET
}

/** True when the accounts were given and there is no REST API to speak of. */
export const xmppOnly = Boolean(process.env.ROOKERY_USERS)

const given = (process.env.ROOKERY_USERS ?? '').split(',').filter(Boolean).map((pair) => {
  const colon = pair.indexOf(':')
  return { id: Number(pair.slice(0, colon)), password: pair.slice(colon + 1) }
})

/** One REST call: JSON in, `{status, headers, body}` out, the body parsed when it is JSON. */
export function rest (method, path, { token, body } = {}) {
  const payload = body === undefined ? '' : JSON.stringify(body)
  const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(payload) }
  if (token) headers['QB-Token'] = token
  return new Promise((resolve, reject) => {
    const call = request({ host: server.host, port: server.httpsPort, path, method, headers }, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (part) => { text += part })
      answer.on('end', () => {
        const json = (answer.headers['content-type'] ?? '').includes('json')
        resolve({ status: answer.statusCode, headers: answer.headers, body: json && text ? JSON.parse(text) : text })
      })
    })
    call.setTimeout(10_000, () => call.destroy(new Error(`${method} ${path}: no answer in 10 s`)))
    call.on('error', reject)
    call.end(payload)
  })
}

/** An application session, or with `user` a user session, signed as `quickblox-wire.md` §3 says. Returns the token. */
export async function session (user) {
  const fields = {
    application_id: server.appId,
    auth_key: server.authKey,
    nonce: Math.floor(Math.random() * 2 ** 31),
    timestamp: Math.floor(Date.now() / 1000)
  }
  const signed = Object.entries(fields)
  for (const [key, value] of Object.entries(user ?? {})) signed.push([`user[${key}]`, value])
  const text = signed.map(([key, value]) => `${key}=${value}`).sort().join('&')
  const signature = createHmac('sha256', server.authSecret).update(text).digest('hex')
  const answer = await rest('POST', '/session.json', { body: { ...fields, ...(user && { user }), signature } })
  if (answer.status !== 201) throw new Error(`POST /session.json: ${answer.status} ${JSON.stringify(answer.body)}`)
  return answer.body.session.token
}

let serial = 0

/** A name that no other test, process or earlier run has taken. */
export function freshName (stem) {
  serial += 1
  return `${stem}${process.pid}x${Date.now().toString(36)}x${serial}`
}

/** A new account: `{id, login, password, node, jid}`, `node` being the local part of the JID. */
export async function newUser (stem = 'user') {
  let user
  if (xmppOnly) {
    user = given.shift()
    if (!user) throw new Error('ROOKERY_USERS names too few accounts for this suite')
  } else {
    const login = freshName(stem)
    const password = `${login}-Secret1`.slice(-40)
    const token = await session()
    const answer = await rest('POST', '/users.json', { token, body: { user: { login, password, full_name: stem } } })
    if (answer.status !== 201) throw new Error(`POST /users.json: ${answer.status} ${JSON.stringify(answer.body)}`)
    user = { id: answer.body.user.id, login, password }
  }
  const node = `${user.id}-${server.appId}`
  return { ...user, node, jid: `${node}@${server.domain}` }
}

/** Waits for what arrives, in any order: `inbox.push(item)`, `await inbox.next(predicate, what)`. */
export class Inbox {
  #items = []
  #waiting = []

  push (item) {
    const at = this.#waiting.findIndex((waiter) => waiter.wants(item))
    if (at < 0) this.#items.push(item)
    else this.#waiting.splice(at, 1)[0].resolve(item)
  }

  /** The first item, past or to come, that `wants` accepts; rejects after `ms` with everything that did come. */
  next (wants, what, ms = 5000) {
    const at = this.#items.findIndex(wants)
    if (at >= 0) return Promise.resolve(this.#items.splice(at, 1)[0])
    return new Promise((resolve, reject) => {
      const waiter = { wants }
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        const seen = this.#items.map(String).join('\n  ') || '(nothing)'
        reject(new Error(`no ${what} in ${ms} ms; what did arrive and nobody asked for:\n  ${seen}`))
      }, ms)
      waiter.resolve = (item) => { clearTimeout(timer); resolve(item) }
      this.#waiting.push(waiter)
    })
  }

  /** Fails if an item that `wants` accepts is there or comes within `ms`. */
  async never (wants, what, ms = 400) {
    const item = await this.next(wants, what, ms).catch(() => null)
    if (item !== null) throw new Error(`unexpected ${what}: ${String(item)}`)
  }
}
