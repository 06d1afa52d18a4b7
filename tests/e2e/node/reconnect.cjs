'use strict'

// node-xmpp-core, under the QuickBlox SDK in Node, wants a branch of `reconnect-core` that it names by the address of a
// code host. `overrides` in package.json has the registry's own release installed in its place, which cannot stand in as
// it is: it makes an emitter of its own, while node-xmpp-core hands in the one to use (`options.emitter`). This is that
// interface and no more: open a socket, tell the emitter how it fares. There is no reconnecting, which the SDK does
// itself, by calling `connect` again. Imported before the SDK, it takes the place of the installed module.

const path = require.resolve('reconnect-core')
require.cache[path] = { id: path, filename: path, loaded: true, exports: reconnect }

function reconnect (openSocket) {
  return function (options) {
    const emitter = options.emitter
    let current = null

    emitter.connected = false
    emitter.reconnect = true

    // After <proceed/> node-xmpp-core calls `listen` again, with the TLS stream on top of the old socket: from then on
    // only the new one counts, and the old one's `close` must not be reported a second time.
    emitter.connect = emitter.listen = function (...args) {
      if (current) current.forget()
      emitter.emit('reconnect', 0, 0)
      const socket = openSocket.apply(emitter, args)
      current = watch(socket, emitter)
      if (options.immediate) current.connected()
      return emitter
    }

    emitter.end = emitter.disconnect = function () {
      emitter.reconnect = false
      if (current) current.socket.end()
      return emitter
    }

    return emitter
  }
}

function watch (socket, emitter) {
  function forget () {
    socket.removeListener('connect', connected)
    socket.removeListener('error', failed)
    socket.removeListener('close', gone)
    socket.removeListener('end', gone)
  }

  function connected () {
    emitter.connected = true
    emitter.emit('connect', socket)
    emitter.emit('connection', socket)
  }

  function failed (error) {
    emitter.emit('error', error)
    gone(error)
  }

  function gone (error) {
    forget()
    emitter.connected = false
    emitter.emit('disconnect', error instanceof Error ? error : undefined)
  }

  socket.once('connect', connected)
  socket.on('error', failed)
  socket.on('close', gone)
  socket.on('end', gone)
  return { socket, connected, forget }
}
