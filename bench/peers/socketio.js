// A chat on socket.io, as small as one can be written: `node socketio.js PORT [FILE]`.
//
// With FILE each message is inserted into SQLite, durably, before anybody hears of it; without, it is only passed on.
// A writer joins a room of its own, a listener hears them all.

const { createServer } = require("node:http");
const { Server } = require("socket.io");

const [port, file] = process.argv.slice(2);

/** Keeps a message, and gives its number. */
function keeper() {
	let count = 0;
	if (!file) return () => ++count;
	const Database = require("libsql");
	const database = new Database(file);
	database.exec("pragma journal_mode = wal; pragma synchronous = full");
	database.exec("create table message (seq integer primary key, room text not null, body text not null, at integer not null)");
	const insert = database.prepare("insert into message (room, body, at) values (?, ?, ?)");
	return (room, body, at) => Number(insert.run(room, body, at).lastInsertRowid);
}

const keep = keeper();
const http = createServer();
// Nobody is asked for a sign of life while it is measured: what it costs is not in the figures.
const io = new Server(http, {
	transports: ["websocket"], perMessageDeflate: false, serveClient: false, pingInterval: 600_000,
});

io.on("connection", (socket) => {
	socket.on("join", (room, done) => {
		socket.join(room);
		done();
	});
	socket.on("send", (room, body, done) => {
		const at = Date.now();
		const seq = keep(room, body, at);
		io.to(room).to("all").emit("msg", { room, seq, body, at });
		done({ seq, at });
	});
});

http.listen(Number(port), "127.0.0.1");
