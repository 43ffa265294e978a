const assert = require('node:assert');
const { Request, TYPES } = require('tedious');
const { connector, query, call } = require('./tedious_connect.cjs');

const [port, password, tls] = process.argv.slice(2);
const at = new Date(Date.UTC(2020, 1, 29, 12, 0, 1, 123));
// Column type, the client's type, two values. Decimals and money are doubles in tedious.
const COLUMNS = [
    ['bit', TYPES.Bit, true, false], ['tinyint', TYPES.TinyInt, 255, 0], ['smallint', TYPES.SmallInt, -32768, 32767],
    ['int', TYPES.Int, -(2 ** 31), 2 ** 31 - 1], ['bigint', TYPES.BigInt, '-9223372036854775808', '9223372036854775807'],
    ['decimal(10,3)', TYPES.Decimal, -12.345, 0, { precision: 10, scale: 3 }], ['money', TYPES.Money, 922337203685.25, -0.5],
    ['real', TYPES.Real, 1.5, -0.25], ['float', TYPES.Float, 1e300, -0.1], ['varchar(20)', TYPES.VarChar, 'abcäÿ€', ''],
    ['varchar(max)', TYPES.VarChar, 'x'.repeat(20000), 'ß'], ['char(3)', TYPES.Char, 'abc', 'a  ', { length: 3 }],
    ['nvarchar(20)', TYPES.NVarChar, 'aß€😀', "'"], ['nvarchar(max)', TYPES.NVarChar, '€'.repeat(50000), ''],
    ['varbinary(10)', TYPES.VarBinary, Buffer.from([0, 255]), Buffer.alloc(0)],
    ['varbinary(max)', TYPES.VarBinary, Buffer.alloc(100000, 7), Buffer.from([1])], ['datetime', TYPES.DateTime, at, new Date(0)],
    ['datetime2(7)', TYPES.DateTime2, at, new Date(0), { scale: 7 }], ['date', TYPES.Date, new Date(Date.UTC(2020, 1, 29)), new Date(0)],
    ['datetimeoffset(3)', TYPES.DateTimeOffset, at, new Date(0), { scale: 3 }],
    ['uniqueidentifier', TYPES.UniqueIdentifier, '04030201-0605-0807-090A-0B0C0D0E0F10', '00000000-0000-0000-0000-000000000000'],
];

async function main() {
    const connection = await connector(port, password, tls)();
    const names = COLUMNS.map((_, index) => `c${index}`);
    const definitions = COLUMNS.map(([kind], index) => `c${index} ${kind}`).join(', ');
    await query(connection, `CREATE TABLE dbo.sent (id int PRIMARY KEY, ${definitions})`, { batch: true });
    const marks = names.map((_, index) => `@p${index + 1}`).join(', ');
    for (const [id, place] of [[1, 2], [2, 3], [3, null]]) {
        const values = COLUMNS.map((column) => [column[1], place === null ? null : column[place], column[4]]);
        const done = await query(connection, `INSERT dbo.sent VALUES (@p0, ${marks})`, { parameters: [[TYPES.Int, id], ...values] });
        assert.strictEqual(done.count, 1);
    }
    const rows = await query(connection, 'SELECT * FROM dbo.sent ORDER BY id');
    const plain = (value) => (value instanceof Date ? value.getTime() : value);
    rows.forEach(([, ...row], index) => COLUMNS.forEach(([kind, , ...values], column) => {
        assert.deepStrictEqual(plain(row[column]), index === 2 ? null : plain(values[index]), kind);
    }));
    assert.strictEqual(rows.length, 3);

    const count = async (where = '1 = 1') => (await query(connection, `SELECT COUNT(*) FROM dbo.sent WHERE ${where}`))[0][0];
    await assert.rejects(query(connection, 'INSERT dbo.sent (id) VALUES (1)'), { number: 2627, class: 14 });
    await assert.rejects(query(connection, 'SELECT * FROM nothing'), { number: 208 });
    await call(connection, 'beginTransaction');
    await query(connection, 'DELETE dbo.sent WHERE id = 1');
    await call(connection, 'saveTransaction', 'here');
    await query(connection, 'DELETE dbo.sent');
    await call(connection, 'rollbackTransaction', 'here');
    assert.strictEqual(await count(), 2);
    await call(connection, 'rollbackTransaction');
    assert.strictEqual(await count(), 3);
    await call(connection, 'beginTransaction');
    await query(connection, 'DELETE dbo.sent WHERE id = 3');
    await call(connection, 'commitTransaction');
    assert.strictEqual(await count(), 2);

    // Prepared once, run often.
    const prepared = new Request('SELECT id FROM dbo.sent WHERE id = @n', (error) => assert.ifError(error));
    prepared.addParameter('n', TYPES.Int);
    await new Promise((done) => { prepared.once('prepared', done); connection.prepare(prepared); });
    for (const [n, found] of [[1, [1]], [2, [2]], [3, []]]) {
        await new Promise((done, fail) => {
            const ids = [];
            prepared.removeAllListeners('row');
            prepared.on('row', (columns) => ids.push(columns[0].value));
            prepared.callback = (error) => { if (error) return fail(error); assert.deepStrictEqual(ids, found); done(); };
            connection.execute(prepared, { n });
        });
    }

    // An output parameter of a statement.
    await new Promise((done, fail) => {
        const outputs = {};
        const request = new Request('SELECT @n = COUNT(*) FROM dbo.sent', (error) => {
            if (error) return fail(error);
            assert.deepStrictEqual(outputs, { n: 2 });
            done();
        });
        request.addOutputParameter('n', TYPES.Int);
        request.on('returnValue', (name, value) => { outputs[name] = value; });
        connection.execSql(request);
    });

    // Stopped while it waits for another's transaction, and amid its rows.
    const other = await connector(port, password, tls)();
    await call(other, 'beginTransaction');
    await query(other, 'DELETE dbo.sent WHERE id = 1');
    const waiting = query(connection, 'DELETE dbo.sent WHERE id = 1', { batch: true });
    setTimeout(() => connection.cancel(), 50);
    await assert.rejects(waiting, { code: 'ECANCEL' });
    await call(other, 'rollbackTransaction');
    other.close();
    await query(connection, 'CREATE TABLE #n (n int); INSERT #n VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)', { batch: true });
    const many = 'SELECT a.n, b.n, c.n, d.n FROM #n a, #n b, #n c, #n d';
    await assert.rejects(query(connection, many, { batch: true, cancelAfter: 10 }), { code: 'ECANCEL' });
    assert.strictEqual((await query(connection, many, { batch: true })).length, 10000);

    // A whole table at once.
    await query(connection, 'CREATE TABLE dbo.loaded (id int PRIMARY KEY, name nvarchar(50) NULL, long varchar(max) NULL, at datetime2(3) NULL, more int DEFAULT 7)', { batch: true });
    const load = (rows, options = {}) => new Promise((done, fail) => {
        const bulk = connection.newBulkLoad('dbo.loaded', options, (error, count) => (error ? fail(error) : done(count)));
        bulk.addColumn('id', TYPES.Int, { nullable: false });
        bulk.addColumn('name', TYPES.NVarChar, { length: 50, nullable: true });
        bulk.addColumn('long', TYPES.VarChar, { length: Infinity, nullable: true });
        bulk.addColumn('at', TYPES.DateTime2, { scale: 3, nullable: true });
        connection.execBulkLoad(bulk, rows);
    });
    const sent = Array.from({ length: 1000 }, (_, n) => [n, n % 3 ? `n €${n}` : null, 'x'.repeat(n * 20), n % 2 ? at : null]);
    assert.strictEqual(await load(sent), 1000);
    const loaded = await query(connection, 'SELECT id, name, long, at, more FROM dbo.loaded ORDER BY id');
    assert.deepStrictEqual(loaded.map((row) => row.map(plain)), sent.map((row) => [...row.map(plain), 7]));
    await assert.rejects(load([[1, 'twice', null, null]]), { number: 2627 });
    assert.strictEqual((await query(connection, 'SELECT COUNT(*) FROM dbo.loaded'))[0][0], 1000);

    // Table-valued parameters.
    await query(connection, 'CREATE TYPE dbo.pairs AS TABLE (id int NOT NULL, name nvarchar(max) NULL)', { batch: true });
    const pairs = { name: 'pairs', schema: 'dbo', columns: [{ name: 'id', type: TYPES.Int }, { name: 'name', type: TYPES.NVarChar, length: Infinity }] };
    for (const rows of [sent.map(([id, name]) => [id, name]), []]) {
        const found = await query(connection, 'SELECT id, name FROM @p0 ORDER BY id', { parameters: [[TYPES.TVP, { ...pairs, rows }]] });
        assert.deepStrictEqual(found.map((row) => [...row]), rows);
    }

    // Stopped at once amid what takes long and gives nothing.
    for (const sql of ['SELECT COUNT(*) FROM #n a, #n b, #n c, #n d, #n e, #n f, #n g, #n h, #n i', "WAITFOR DELAY '01:00'"]) {
        const running = query(connection, sql, { batch: true });
        setTimeout(() => connection.cancel(), 50);
        await assert.rejects(running, { code: 'ECANCEL' });
        assert.strictEqual((await query(connection, 'SELECT 1'))[0][0], 1);
    }

    // Large values both ways in packets of every size.
    for (const packetSize of [512, 4096, 16383, 16384, 32767]) {
        const sized = await connector(port, password, tls)({ packetSize });
        const text = `€${packetSize}`.repeat(60000);
        const bytes = Buffer.from(Array.from({ length: 300001 }, (_, n) => (n * packetSize) % 251));
        const parameters = [[TYPES.NVarChar, text], [TYPES.VarBinary, bytes], [TYPES.Int, packetSize]];
        const [row] = await query(sized, 'SELECT @p0, @p1, @p2', { parameters });
        assert.ok(row[0] === text && bytes.equals(row[1]) && row[2] === packetSize, `packets of ${packetSize}`);
        const rows = await query(sized, 'SELECT id, name, long FROM dbo.loaded ORDER BY id');
        assert.deepStrictEqual(rows.map((found) => [...found]), sent.map((found) => found.slice(0, 3)));
        sized.close();
    }

    // The next user of a pooled connection finds nothing of the one before.
    await new Promise((done) => connection.reset(done));
    await assert.rejects(query(connection, 'SELECT * FROM #n'), { number: 208 });
    assert.strictEqual(await count(), 2);
    connection.close();
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
