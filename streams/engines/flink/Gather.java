import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

import org.apache.flink.api.common.operators.ProcessingTimeService.ProcessingTimeCallback;
import org.apache.flink.streaming.api.graph.StreamConfig;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.BoundedOneInput;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.operators.Output;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.runtime.tasks.ProcessingTimeService;
import org.apache.flink.streaming.runtime.tasks.StreamTask;
import org.apache.flink.table.data.ArrayData;
import org.apache.flink.table.data.MapData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.types.Row;

/**
 * Records of the source, each partition's in runs: `Row(key of the partition, run)`.
 *
 * <p>A run is a msgpack array of `[offset, key, value, [[header, value], ...], append time in microseconds]`. It leaves
 * when `references[2]` milliseconds have passed, when it is large, and before a checkpoint's barrier: so nothing is ever
 * waiting in a checkpoint, and there is no state. Records of the topic `references[1]` have offsets below zero;
 * `references[0]` are the keys of the partitions by `topic/number`.
 *
 * <p>Compiled by Flink where it runs, as the operators of its SQL are: no lambdas, no generics.
 */
public class Gather extends AbstractStreamOperator
        implements OneInputStreamOperator, BoundedOneInput, ProcessingTimeCallback {

    private static final int LARGE = 1 << 20;

    private final Map keys;
    private final String moves;
    private final long wait;
    private final Map runs = new HashMap();
    private boolean waiting;
    private String topic;
    private int partition = -1;
    private Run run;

    public Gather(
            Object[] references, StreamTask task, StreamConfig config, Output output, ProcessingTimeService time)
            throws Exception {
        this.keys = (Map) references[0];
        this.moves = (String) references[1];
        this.wait = ((Number) references[2]).longValue();
        this.setup(task, config, output);
        this.setProcessingTimeService(time);
    }

    public void processElement(StreamRecord element) throws Exception {
        RowData row = (RowData) element.getValue();
        String from = row.getString(0).toString();
        int number = row.getInt(1);
        if (number != partition || !from.equals(topic)) {
            topic = from;
            partition = number;
            run = runOf(from + "/" + number);
        }
        run.add(row, from.equals(moves));
        if (run.size >= LARGE) {
            send(run);
        } else if (!waiting) {
            waiting = true;
            getProcessingTimeService().registerTimer(getProcessingTimeService().getCurrentProcessingTime() + wait, this);
        }
    }

    private Run runOf(String name) {
        Object key = keys.get(name);
        if (key == null) {
            throw new IllegalStateException(name + " is not a partition that the job reads");
        }
        Run found = (Run) runs.get(key);
        if (found == null) {
            found = new Run(key);
            runs.put(key, found);
        }
        return found;
    }

    private void send(Run run) {
        if (run.count > 0) {
            output.collect(new StreamRecord(Row.of(new Object[] {run.key, run.take()})));
        }
    }

    private void sendAll() {
        Object[] all = runs.values().toArray();
        for (int i = 0; i < all.length; i++) {
            send((Run) all[i]);
        }
    }

    public void onProcessingTime(long time) throws Exception {
        waiting = false;
        sendAll();
    }

    public void prepareSnapshotPreBarrier(long checkpoint) throws Exception {
        sendAll();
    }

    public void endInput() throws Exception {
        sendAll();
    }

    /** The records of one partition since the last run, as msgpack. */
    private static class Run {

        final Object key;
        int count;
        int size = 5;
        byte[] data = new byte[1 << 16];

        Run(Object key) {
            this.key = key;
        }

        byte[] take() {
            data[0] = (byte) 0xdd;
            int end = size;
            size = 1;
            putInt(count);
            byte[] taken = Arrays.copyOf(data, end);
            size = 5;
            count = 0;
            return taken;
        }

        void add(RowData row, boolean move) {
            count++;
            room(64);
            data[size++] = (byte) 0x95;
            long offset = row.getLong(2);
            putLong(move ? -1 - offset : offset);
            putBytes(row.isNullAt(4) ? null : row.getBinary(4));
            putBytes(row.isNullAt(5) ? null : row.getBinary(5));
            putHeaders(row.isNullAt(6) ? null : row.getMap(6));
            room(16);
            putLong(row.getTimestamp(3, 3).getMillisecond() * 1000L);
        }

        void putHeaders(MapData headers) {
            int length = headers == null ? 0 : headers.size();
            room(8);
            data[size++] = (byte) 0xdd;
            putInt(length);
            if (length == 0) {
                return;
            }
            ArrayData names = headers.keyArray();
            ArrayData values = headers.valueArray();
            for (int i = 0; i < length; i++) {
                byte[] name = names.getString(i).toBytes();
                room(name.length + 8);
                data[size++] = (byte) 0x92;
                data[size++] = (byte) 0xdb;
                putInt(name.length);
                put(name);
                putBytes(values.isNullAt(i) ? null : values.getBinary(i));
            }
        }

        void putBytes(byte[] bytes) {
            room((bytes == null ? 0 : bytes.length) + 8);
            if (bytes == null) {
                data[size++] = (byte) 0xc0;
                return;
            }
            data[size++] = (byte) 0xc6;
            putInt(bytes.length);
            put(bytes);
        }

        void put(byte[] bytes) {
            System.arraycopy(bytes, 0, data, size, bytes.length);
            size += bytes.length;
        }

        void putLong(long value) {
            data[size++] = (byte) 0xd3;
            putInt((int) (value >> 32));
            putInt((int) value);
        }

        void putInt(int value) {
            data[size++] = (byte) (value >> 24);
            data[size++] = (byte) (value >> 16);
            data[size++] = (byte) (value >> 8);
            data[size++] = (byte) value;
        }

        void room(int more) {
            if (size + more > data.length) {
                data = Arrays.copyOf(data, Math.max(data.length * 2, size + more));
            }
        }
    }
}
