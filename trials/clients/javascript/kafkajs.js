// kafkajs: idempotent producers of every codec that it has without a compiler, then offsets by time.
// It reads only in consumer groups; the trial reads what it wrote with kcat.

const assert = require("node:assert");
const { Kafka, CompressionTypes, CompressionCodecs, Partitioners, logLevel } = require("kafkajs");
CompressionCodecs[CompressionTypes.Snappy] = require("kafkajs-snappy");

const CODECS = [CompressionTypes.None, CompressionTypes.GZIP, CompressionTypes.Snappy];
const [bootstrap, topic] = process.argv.slice(2);
const count = Number(process.argv[4]);
const start = Date.now() - 60_000;
const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR });

async function produce() {
  const producer = kafka.producer({
    idempotent: true,
    maxInFlightRequests: 1,
    createPartitioner: Partitioners.DefaultPartitioner,
  });
  await producer.connect();
  const next = [0, 0];
  const batch = 50;
  for (let first = 0; first < count; first += batch) {
    const messages = [];
    for (let number = first; number < Math.min(first + batch, count); number++) {
      messages.push({
        partition: number % 2,
        key: `key ${number}`,
        value: `value ${number}`,
        headers: { number: `${number}` },
        timestamp: `${start + number}`,
      });
    }
    const compression = CODECS[Math.floor((first * CODECS.length) / count)];
    const acks = await producer.send({ topic, acks: -1, compression, messages });
    for (const { partition, errorCode, baseOffset } of acks) {
      assert.strictEqual(errorCode, 0);
      assert.strictEqual(Number(baseOffset), next[partition], "acked offsets are dense and in order");
    }
    for (const { partition } of messages) next[partition]++;
  }
  await producer.disconnect();
}

async function listOffsets() {
  const admin = kafka.admin();
  await admin.connect();
  const ends = await admin.fetchTopicOffsets(topic);
  for (const { low, high } of ends) assert.deepStrictEqual([low, high], ["0", `${count / 2}`]);
  const at = async (time) => {
    const found = await admin.fetchTopicOffsetsByTimestamp(topic, time);
    return found.sort((a, b) => a.partition - b.partition).map(({ offset }) => Number(offset));
  };
  const half = count / 2;
  assert.deepStrictEqual(await at(start + half), [Math.ceil(half / 2), Math.floor(half / 2)]);
  assert.deepStrictEqual(await at(start - 1000), [0, 0]);
  assert.deepStrictEqual(await at(start + count), [half, half]);
  await admin.disconnect();
}

produce()
  .then(listOffsets)
  .then(() => console.log("ok", count))
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
