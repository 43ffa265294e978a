// Connections and requests of tedious as promises.
const { Connection, Request } = require('tedious');

exports.connector = (port, password, tls) => (more = {}) => {
    const config = {
        server: 'localhost',
        authentication: { type: 'default', options: { userName: 'sa', password: more.password ?? password } },
        options: {
            port: Number(port), database: more.database ?? 'standin', encrypt: tls === 'tls', trustServerCertificate: true,
            packetSize: more.packetSize ?? 4096,
            requestTimeout: 20000, useColumnNames: false,
        },
    };
    return new Promise((done, fail) => {
        const connection = new Connection(config);
        connection.connect((error) => (error ? fail(error) : done(connection)));
    });
};

exports.query = (connection, sql, { parameters = [], batch = false, cancelAfter = Infinity } = {}) =>
    new Promise((done, fail) => {
        const rows = [];
        const request = new Request(sql, (error, count) => {
            Object.defineProperty(rows, 'count', { value: count, enumerable: false });
            if (error) fail(error);
            else done(rows);
        });
        request.on('row', (columns) => {
            rows.push(columns.map((column) => column.value));
            if (rows.length === cancelAfter) connection.cancel();
        });
        for (const [index, [type, value, options]] of parameters.entries()) {
            request.addParameter(`p${index}`, type, value, options);
        }
        if (batch) connection.execSqlBatch(request);
        else connection.execSql(request);
    });

exports.call = (connection, method, ...args) =>
    new Promise((done, fail) => connection[method]((error) => (error ? fail(error) : done()), ...args));
