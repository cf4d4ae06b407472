import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

import org.apache.flink.streaming.api.graph.StreamConfig;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.operators.Output;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.streaming.runtime.tasks.ProcessingTimeService;
import org.apache.flink.streaming.runtime.tasks.StreamTask;
import org.apache.flink.table.data.GenericMapData;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.data.binary.BinaryStringData;

/**
 * Records to send, which come as msgpack arrays of `[topic, value, key, [[header, value], ...]]`, as rows of the sink:
 * topic, key, value, headers.
 *
 * <p>Compiled by Flink where it runs, as the operators of its SQL are: no lambdas, no generics.
 */
public class Scatter extends AbstractStreamOperator implements OneInputStreamOperator {

    private final Names names = new Names();

    public Scatter(
            Object[] references, StreamTask task, StreamConfig config, Output output, ProcessingTimeService time)
            throws Exception {
        this.setup(task, config, output);
        this.setProcessingTimeService(time);
    }

    public void processElement(StreamRecord element) throws Exception {
        ByteBuffer data = ByteBuffer.wrap((byte[]) element.getValue());
        int count = arrayOf(data);
        for (int i = 0; i < count; i++) {
            arrayOf(data);
            GenericRowData row = new GenericRowData(4);
            row.setField(0, names.of(bytesOf(data)));
            row.setField(2, bytesOf(data));
            row.setField(1, bytesOf(data));
            Map headers = new LinkedHashMap();
            int length = arrayOf(data);
            for (int j = 0; j < length; j++) {
                arrayOf(data);
                StringData name = names.of(bytesOf(data));
                headers.put(name, bytesOf(data));
            }
            row.setField(3, new GenericMapData(headers));
            output.collect(new StreamRecord(row));
        }
    }

    private static int arrayOf(ByteBuffer data) {
        int tag = data.get() & 0xff;
        if (tag >> 4 == 0x9) {
            return tag & 0xf;
        }
        if (tag == 0xdc) {
            return data.getShort() & 0xffff;
        }
        if (tag == 0xdd) {
            return data.getInt();
        }
        throw new IllegalStateException("not an array: " + tag);
    }

    /** The bytes of a text or of bytes; null for nil. */
    private static byte[] bytesOf(ByteBuffer data) {
        int tag = data.get() & 0xff;
        int length;
        if (tag == 0xc0) {
            return null;
        } else if (tag >> 5 == 0x5) {
            length = tag & 0x1f;
        } else if (tag == 0xc4 || tag == 0xd9) {
            length = data.get() & 0xff;
        } else if (tag == 0xc5 || tag == 0xda) {
            length = data.getShort() & 0xffff;
        } else if (tag == 0xc6 || tag == 0xdb) {
            length = data.getInt();
        } else {
            throw new IllegalStateException("neither text nor bytes: " + tag);
        }
        byte[] bytes = new byte[length];
        data.get(bytes);
        return bytes;
    }

    /** The few names of topics and headers, each made once. */
    private static class Names {

        private final byte[][] known = new byte[64][];
        private final StringData[] made = new StringData[64];

        StringData of(byte[] text) {
            int at = Arrays.hashCode(text) & 63;
            if (!Arrays.equals(text, known[at])) {
                known[at] = text;
                made[at] = BinaryStringData.fromBytes(text);
                made[at].toString();
            }
            return made[at];
        }
    }
}
