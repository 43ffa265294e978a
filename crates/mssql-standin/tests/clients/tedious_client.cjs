const assert = require('node:assert');
const { Request, TYPES } = require('tedious');
const { connector, query, call } = require('./tedious_connect.cjs');

const [port, password, tls] = process.argv.slice(2);
const connect = connector(port, password, tls);

async function main() {
    const connection = await connect();
    const [least, greatest, none] = await query(connection, 'SELECT * FROM all_types', { batch: true });
    assert(none.every((value) => value === null));
    const all = Buffer.from(Array.from({ length: 100000 }, (_, at) => at % 256));
    const cells = (row, from, to) => row.slice(from, to);
    assert.deepStrictEqual(cells(least, 0, 5), [false, 0, -32768, -(2 ** 31), '-9223372036854775808']);
    assert.deepStrictEqual(cells(greatest, 0, 5), [true, 255, 32767, 2 ** 31 - 1, '9223372036854775807']);
    // Decimals and money are doubles in tedious.
    assert.deepStrictEqual(cells(greatest, 6, 8), [999.99, 214748.3647]);
    assert.deepStrictEqual(cells(least, 6, 8), [-999.99, -214748.3648]);
    assert.deepStrictEqual(cells(greatest, 9, 11), [3.4028234663852886e38, 1.7976931348623157e308]);
    const utc = (...parts) => { const date = new Date(Date.UTC(2000, ...parts.slice(1))); date.setUTCFullYear(parts[0]); return date.getTime(); };
    const times = (row) => row.slice(11, 18).map((value) => value.getTime());
    assert.deepStrictEqual(times(least).filter((_, at) => at !== 1 && at !== 2), [
        utc(1, 0, 1), utc(1753, 0, 1), utc(1900, 0, 1), utc(1, 0, 1), utc(1, 0, 1),
    ]);
    assert.deepStrictEqual(times(greatest).filter((_, at) => at !== 1 && at !== 2), [
        utc(9999, 11, 31), utc(9999, 11, 31, 23, 59, 59, 997), utc(2079, 5, 6, 23, 59),
        utc(9999, 11, 31, 23, 59, 59, 999), utc(9999, 11, 31, 23, 59, 59, 999),
    ]);
    assert.deepStrictEqual(cells(greatest, 18, 34), [
        '04030201-0605-0807-090A-0B0C0D0E0F10', 'aÿ€  ', 'äöü€', 'x'.repeat(100000), 't'.repeat(50000), 'a😀', 'aß€😀',
        'ß'.repeat(70000), '€'.repeat(20000), Buffer.alloc(4, 255), Buffer.from([0, 255]), all, all, Buffer.alloc(8, 255),
        'aß€', '<a>ß</a>',
    ]);
    assert.deepStrictEqual(cells(least, 20, 23), ['', '', '']);
    assert.strictEqual(least[32], -(2 ** 31));

    const at = new Date(Date.UTC(2020, 1, 29, 12, 0, 1, 123));
    const parameters = [
        [TYPES.Bit, true], [TYPES.TinyInt, 255], [TYPES.SmallInt, -32768], [TYPES.Int, -(2 ** 31)], [TYPES.BigInt, '-9223372036854775808'],
        [TYPES.Decimal, -12.345, { precision: 10, scale: 3 }], [TYPES.Numeric, 99.5, { precision: 38, scale: 1 }],
        [TYPES.SmallMoney, -1.5], [TYPES.Money, 922337203685.25], [TYPES.Real, 1.5], [TYPES.Float, 1e300],
        [TYPES.VarChar, 'abcäÿ'], [TYPES.VarChar, 'x'.repeat(20000)], [TYPES.Char, 'abc', { length: 3 }], [TYPES.NVarChar, 'aß€😀'],
        [TYPES.NVarChar, '€'.repeat(50000)], [TYPES.NChar, 'ab', { length: 2 }], [TYPES.VarBinary, Buffer.from([0, 255])],
        [TYPES.VarBinary, all], [TYPES.Binary, Buffer.from([1, 2]), { length: 2 }], [TYPES.DateTime, at], [TYPES.DateTime2, at, { scale: 7 }],
        [TYPES.DateTimeOffset, at, { scale: 3 }], [TYPES.UniqueIdentifier, '04030201-0605-0807-090A-0B0C0D0E0F10'],
        [TYPES.Int, null], [TYPES.NVarChar, null], [TYPES.VarBinary, null], [TYPES.DateTime2, null],
    ];
    const [back] = await query(connection, 'SELECT @p0, @p1', { parameters });
    parameters.forEach(([type, sent], index) => {
        const norm = (value) => (value instanceof Date ? value.getTime() : value);
        assert.deepStrictEqual(norm(back[index]), norm(sent), `${type.name}, parameter ${index}`);
    });

    await assert.rejects(query(connection, 'SELECT 1/0', { batch: true }), { number: 8134, class: 16, message: 'Divide by zero error encountered.' });
    await assert.rejects(query(connection, 'SELEKT'), { number: 102 });
    await assert.rejects(query(connection, "EXEC nested error", { batch: true }), { number: 50001, state: 9, class: 14, procName: 'dbo.nested', lineNumber: 7 });

    await call(connection, 'beginTransaction');
    assert.deepStrictEqual(await query(connection, 'SELECT @@TRANCOUNT', { batch: true }), [[1]]);
    await call(connection, 'saveTransaction', 'here');
    await call(connection, 'rollbackTransaction', 'here');
    await call(connection, 'commitTransaction');
    assert.deepStrictEqual(await query(connection, 'SELECT @@TRANCOUNT', { batch: true }), [[0]]);

    await assert.rejects(query(connection, 'SELECT * FROM numbers(2000000000)', { batch: true, cancelAfter: 10 }), { code: 'ECANCEL' });
    const waiting = query(connection, 'WAITFOR DELAY', { batch: true });
    setTimeout(() => connection.cancel(), 50);
    await assert.rejects(waiting, { code: 'ECANCEL' });
    assert.deepStrictEqual(await query(connection, 'SELECT 8'), [[8]]);

    await new Promise((done, fail) => {
        const outputs = {};
        const request = new Request('plus_one', (error) => {
            if (error) return fail(error);
            assert.deepStrictEqual(outputs, { next: 42 });
            done();
        });
        request.addParameter('n', TYPES.Int, 41);
        request.addOutputParameter('next', TYPES.Int);
        request.on('returnValue', (name, value) => { outputs[name] = value; });
        request.on('doneProc', (_count, _more, status) => assert.strictEqual(status, 7));
        connection.callProcedure(request);
    });

    const prepared = new Request('SELECT @n', (error) => assert.ifError(error));
    prepared.addParameter('n', TYPES.Int);
    await new Promise((done) => { prepared.once('prepared', done); connection.prepare(prepared); });
    for (const n of [1, 2, 3]) {
        await new Promise((done, fail) => {
            const rows = [];
            prepared.removeAllListeners('row');
            prepared.on('row', (columns) => rows.push(columns[0].value));
            prepared.callback = (error) => { if (error) return fail(error); assert.deepStrictEqual(rows, [n]); done(); };
            connection.execute(prepared, { n });
        });
    }
    await new Promise((done) => connection.reset(done));
    assert.deepStrictEqual(await query(connection, 'SELECT 9'), [[9]]);
    connection.close();

    await assert.rejects(connect({ password: 'wrong' }), { message: "Login failed for user 'sa'." });
    await assert.rejects(connect({ database: 'nowhere' }), /nowhere|Login failed/);
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
