/* Draws the report of a sweep from the JSON in #data, with D3 version 3. What comes out of files gets into the page
 * as text (.text(), textContent) and never as HTML. */
(function () {
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const metric = data.metric.name, runs = data.runs, keys = data.keys;
const best = data.best ? data.best.run : -1;
const numberOfRun = run => String(run).padStart(4, "0");
const isDone = run => run.score !== null;
const hasEnded = run => ["done", "halted", "waiting"].includes(run.state); // on its rung
const better = data.metric.maximize ? (a, b) => b - a : (a, b) => a - b;

/* Short, as on an axis. */
function format(value) {
    if (value === null || value === undefined) return "–";
    if (typeof value !== "number") return String(value);
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace(/\.?0*e\+?/, "e");
    return String(Number(value.toPrecision(5)));
}
const formatError = value => value === null ? "–" : String(Number(value.toPrecision(2)));
const shorten = text => text.length > 22 ? text.slice(0, 10) + "…" + text.slice(-10) : text;

/* --- scales ------------------------------------------------------------------------------------------------------- */

/* What a parameter's values are like: numbers, over decades or not, or words. */
function describe(key, index) {
    const texts = runs.map(run => run.values[index]);
    const distinct = Array.from(new Set(texts));
    const numeric = texts.every(text => text.trim() !== "" && isFinite(Number(text)));
    const numbers = numeric ? distinct.map(Number).sort(d3.ascending) : [];
    const decades = numeric && !key.uniform && numbers[0] > 0 && numbers[numbers.length - 1] / numbers[0] >= 10;
    return {
        name: key.name, repeated: key.repeated, numeric: numeric, log: decades,
        distinct: numeric ? numbers : distinct, few: distinct.length <= 8,
        value: run => numeric ? Number(run.values[index]) : run.values[index],
    };
}
const parameters = keys.map(describe);
const varied = parameters.filter(parameter => parameter.distinct.length > 1);
const score = {
    name: metric, numeric: true, log: false, few: false, value: run => run.score,
    distinct: Array.from(new Set(runs.filter(isDone).map(run => run.score))).sort(d3.ascending),
};

/* A scale onto [from, to] with its axis. */
function scaleOf(parameter, from, to, pad) {
    const values = parameter.distinct, low = values[0], high = values[values.length - 1];
    if (!parameter.numeric) return d3.scale.ordinal().domain(values).rangePoints([from, to], pad);
    const inset = Math.sign(to - from) * (parameter.few ? 34 : 12);
    const domain = values.length > 1 ? [low, high] : [low - 0.5, low + 0.5];
    return (parameter.log ? d3.scale.log() : d3.scale.linear()).domain(domain).range([from + inset, to - inset]);
}
function axisOf(parameter, scale, orient, room) {
    const axis = d3.svg.axis().scale(scale).orient(orient).outerTickSize(0);
    if (!parameter.numeric) return axis.tickFormat(shorten).tickValues(parameter.distinct.filter(
        (value, i) => i % Math.ceil(parameter.distinct.length / 12) === 0));
    if (parameter.few && parameter.distinct.length <= room) axis.tickValues(parameter.distinct);
    else if (parameter.log) {
        const ticks = scale.ticks(), tens = ticks.filter(tick => Math.abs(Math.log10(tick) % 1) < 1e-9);
        axis.tickValues(tens.length > 1 ? tens : ticks.filter(tick => /^[125]/.test(tick.toExponential())));
    } else axis.ticks(room);
    return axis.tickFormat(format);
}

/* --- what is shared by all plots ---------------------------------------------------------------------------------- */

const state = { colour: "state", figure: metric, brushes: new Map() };
const steps = ["#5b4ba8", "#3f7ab5", "#27a0a0", "#4fbf6b", "#a9c52f"];
const words = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8d8d00", "#8a8a8a"];

const states = ["done", "halted", "waiting", "running", "pending", "failed"]
    .filter(name => runs.some(run => run.state === name));

/* The colour of each run, and what colours mean: [[colour, text]]. */
function colours() {
    const parameter = [score].concat(varied).find(p => p.name === state.colour);
    const colourOf = name => "var(--" + name + ")";
    if (!parameter) return {
        of: run => colourOf(run.run === best ? "best" : run.state),
        meanings: (best < 0 ? states : ["best"].concat(states)).map(name => [colourOf(name), name]),
    };
    if (!parameter.numeric) {
        const scale = d3.scale.ordinal().domain(parameter.distinct).range(words);
        const meanings = parameter.few ? parameter.distinct.map(text => [scale(text), shorten(text)]) : []; /* else they repeat */
        return { of: run => scale(parameter.value(run)), meanings: meanings };
    }
    const values = parameter.distinct, low = values[0], high = values[values.length - 1];
    const place = (parameter.log ? d3.scale.log() : d3.scale.linear()).domain([low, high > low ? high : low + 1]);
    const scale = d3.scale.linear().domain(steps.map((_, i) => i / (steps.length - 1))).range(steps);
    return {
        of: run => parameter.value(run) === null ? "var(--pending)" : scale(place(parameter.value(run))),
        meanings: values.length ? steps.map((step, i) => [step, format(place.invert(i / (steps.length - 1)))]) : [],
    };
}
function drawLegend() {
    const legend = d3.select("#legend").text("").selectAll("span").data(colours().meanings).enter().append("span");
    legend.append("i").style("background", meaning => meaning[0]);
    legend.append("span").text(meaning => meaning[1]);
}

function passes(run) {
    return Array.from(state.brushes.values()).every(inside => inside(run));
}

const tip = d3.select("#tip");
let hovered = -1;
function hover(run, event) {
    if (hovered >= 0 && (!run || hovered !== run.run)) d3.selectAll(".r" + hovered).classed("hover", false);
    tip.style("display", run ? "block" : "none");
    if (run && hovered !== run.run) {
        d3.selectAll("path.r" + run.run + ", circle.r" + run.run).each(function () { this.parentNode.appendChild(this); });
        d3.selectAll(".r" + run.run).classed("hover", true);
        tip.text("");
        tip.append("b").text("run " + numberOfRun(run.run) + (run.run === best ? ", the best" : ""));
        tip.append("div").text(run.state + (isDone(run) ? ", " + metric + " " + format(run.score) : ""));
        keys.forEach((key, i) => tip.append("div").attr("class", "values").text(key.name + "=" + run.values[i]));
    }
    hovered = run ? run.run : -1;
    if (!run) return;
    const box = tip.node().getBoundingClientRect();
    tip.style("left", Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8)) + "px")
       .style("top", Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 8)) + "px");
}
function hoverable(selection) {
    selection.on("mousemove", run => hover(run, d3.event)).on("mouseleave", () => hover(null));
}
const classOf = run => "r" + run.run + (run.run === best ? " is-best" : "") + (passes(run) ? "" : " off");

/* An empty plot; its inner size is given. */
function plot(parent, width, height, margin) {
    const svg = d3.select(parent).append("svg")
        .attr("viewBox", [0, 0, width + margin.left + margin.right, height + margin.top + margin.bottom].join(" "));
    return svg.append("g").attr("transform", "translate(" + margin.left + "," + margin.top + ")");
}
function drawAxes(g, width, height, xAxis, yAxis, xTitle, yTitle) {
    g.append("g").attr("class", "grid").call(yAxis.tickSize(-width, 0).tickFormat("")).select("path").remove();
    g.append("g").attr("class", "axis x").attr("transform", "translate(0," + height + ")").call(xAxis);
    g.append("g").attr("class", "axis").call(yAxis.tickSize(5, 0).tickFormat(format));
    g.append("text").attr("class", "title").attr("x", width / 2).attr("y", height + 36)
        .attr("text-anchor", "middle").text(xTitle);
    g.append("text").attr("class", "title").attr("y", -8).attr("x", -40).text(yTitle);
}

/* --- curves ------------------------------------------------------------------------------------------------------- */

/* Lines of {points: [[epoch, value]], run, paint} over epochs. */
function drawLines(g, lines, width, height, yTitle) {
    const all = d3.merge(lines.map(line => line.points));
    const first = Math.min(1, d3.min(all, d => d[0])), last = Math.max(first + 1, d3.max(all, d => d[0]));
    const x = d3.scale.linear().domain([first - 0.03 * (last - first), last]).range([0, width]);
    const y = d3.scale.linear().domain(d3.extent(all, d => d[1])).nice().range([height, 0]);
    const path = d3.svg.line().x(d => x(d[0])).y(d => y(d[1]));
    const whole = d3.svg.axis().scale(x).orient("bottom").ticks(Math.min(20, last)).outerTickSize(0)
        .tickFormat(value => value % 1 === 0 ? String(value) : "");
    drawAxes(g, width, height, whole, d3.svg.axis().scale(y).orient("left").ticks(6), "epoch", yTitle);
    g.append("g").selectAll("path").data(lines).enter().append("path")
        .attr("class", line => "curve " + line.name).attr("d", line => path(line.points)).style("stroke", line => line.paint);
    g.append("g").selectAll("circle").data(lines.filter(line => line.points.length === 1)).enter().append("circle")
        .attr("class", line => "dot " + line.name).attr("r", 3).style("fill", line => line.paint)
        .attr("cx", line => x(line.points[0][0])).attr("cy", line => y(line.points[0][1]));
    return { x: x, y: y };
}
const pointsOf = (run, figure) => run.curves.epoch.map((epoch, i) => [epoch, run.curves[figure][i]]).filter(d => d[1] !== null);

function drawCurves() {
    const width = 1130, height = 380, colour = colours().of;
    const lines = runs.map(run => ({ run: run, points: pointsOf(run, state.figure), paint: colour(run), name: classOf(run) }))
        .filter(line => line.points.length > 0)
        .sort((a, b) => (a.run.run === best) - (b.run.run === best));
    d3.select("#curves").text("");
    if (lines.length === 0) return d3.select("#curves").append("p").attr("class", "soft").text("No run has been validated yet.");
    const g = plot("#curves", width, height, { left: 56, right: 14, top: 26, bottom: 44 });
    const scales = drawLines(g, lines, width, height, state.figure);
    data.rungs.slice(0, -1).forEach(epochs => {
        g.append("line").attr("class", "rung").attr("x1", scales.x(epochs)).attr("x2", scales.x(epochs)).attr("y2", height);
        g.append("text").attr("x", scales.x(epochs) + 4).attr("y", 10).text("halving");
    });
    g.append("rect").attr("width", width).attr("height", height).style("fill", "none").style("pointer-events", "all")
        .on("mouseleave", () => hover(null))
        .on("mousemove", function () {
            const at = d3.mouse(this);
            let nearest = null, least = 900;
            lines.filter(line => passes(line.run)).forEach(line => line.points.forEach(d => {
                const off = Math.pow(scales.x(d[0]) - at[0], 2) + Math.pow(scales.y(d[1]) - at[1], 2);
                if (off < least) { least = off; nearest = line.run; }
            }));
            hover(nearest, d3.event);
        });
}

/* --- the metric against each parameter ---------------------------------------------------------------------------- */

function drawParameter(parameter) {
    const width = 400, height = 210, colour = colours().of, done = runs.filter(isDone);
    const g = plot(d3.select("#parameters").append("figure").node(), width, height, { left: 56, right: 10, top: 22, bottom: 44 });
    const x = scaleOf(parameter, 0, width, 1);
    const y = d3.scale.linear().domain(d3.extent(done, score.value)).nice().range([height, 0]);
    drawAxes(g, width, height, axisOf(parameter, x, "bottom", 8), d3.svg.axis().scale(y).orient("left").ticks(5),
             parameter.name + (parameter.log ? " (log)" : ""), metric);
    if (!parameter.numeric && d3.sum(parameter.distinct, value => shorten(value).length) > 50)
        g.selectAll(".x text").style("text-anchor", "end").attr("transform", "rotate(-20)");
    const spread = parameter.few ? Math.min(16, width / parameter.distinct.length / 4) : 0;
    const shift = run => spread * ((run.run * 0.618034) % 1 - 0.5) * 2;
    hoverable(g.append("g").selectAll("circle").data(done).enter().append("circle")
        .attr("class", run => "dot " + classOf(run))
        .attr("cx", run => x(parameter.value(run)) + shift(run)).attr("cy", run => y(run.score))
        .attr("r", run => run.run === best ? 5 : 3).style("fill", colour));
    if (!parameter.few) return;
    d3.nest().key(run => String(parameter.value(run))).entries(done.filter(passes)).forEach(group => {
        const at = x(parameter.value(group.values[0])), mean = y(d3.mean(group.values, score.value));
        g.append("line").attr("class", "mean").attr("x1", at - spread - 5).attr("x2", at + spread + 5)
            .attr("y1", mean).attr("y2", mean).append("title").text("mean");
    });
}
function drawParameters() {
    d3.select("#parameters").text("");
    if (runs.some(isDone)) varied.forEach(drawParameter);
    else d3.select("#parameters").append("p").attr("class", "soft").text("No run is done yet.");
}

/* --- parallel coordinates ----------------------------------------------------------------------------------------- */

function drawParallel() {
    const axes = varied.concat(score.distinct.length ? [score] : []), width = 1010, height = 300;
    const colour = colours().of, shown = runs.filter(run => isDone(run) || score.distinct.length === 0);
    d3.select("#parallel").text("");
    const g = plot("#parallel", width, height, { left: 90, right: 100, top: 40, bottom: 14 });
    const x = d3.scale.ordinal().domain(d3.range(axes.length)).rangePoints([0, width]);
    const y = axes.map(parameter => scaleOf(parameter, height, 0, 0.6));
    const points = run => axes.map((parameter, i) => [x(i), y[i](parameter.value(run))]);
    hoverable(g.append("g").selectAll("path").data(shown.slice().sort((a, b) => (a.run === best) - (b.run === best)))
        .enter().append("path").attr("class", run => "curve " + classOf(run))
        .attr("d", run => d3.svg.line()(points(run))).style("stroke", colour));
    axes.forEach((parameter, i) => {
        const first = i === 0, last = !first && i === axes.length - 1; /* whose names do not cross the edges */
        const axis = g.append("g").attr("class", "axis").attr("transform", "translate(" + x(i) + ",0)");
        axis.call(axisOf(parameter, y[i], last ? "right" : "left", 8));
        axis.append("text").attr("class", "title").attr("text-anchor", first ? "start" : last ? "end" : "middle")
            .attr("x", first ? -90 : last ? 100 : 0).attr("y", i % 2 ? -24 : -10)
            .text(parameter.name + (parameter.log ? " (log)" : ""));
        const brush = d3.svg.brush().y(y[i]);
        const pixels = d3.scale.linear().domain([0, height]).range([0, height]);
        brush.y(pixels).on("brush", () => {
            const extent = brush.extent();
            if (brush.empty()) state.brushes.delete(parameter.name);
            else state.brushes.set(parameter.name, run => {
                const at = parameter.value(run) === null ? NaN : y[i](parameter.value(run));
                return at >= extent[0] && at <= extent[1];
            });
            filter();
        });
        axis.append("g").attr("class", "brush").call(brush).selectAll("rect").attr("x", -9).attr("width", 18);
    });
}

/* Show which runs pass all brushes. */
function filter() {
    d3.selectAll("#curves .curve, #curves .dot, #parameters .dot, #parallel .curve")
        .classed("off", d => !passes(d.points ? d.run : d));
    const count = runs.filter(passes).length;
    d3.selectAll("#table tbody tr").style("display", run => passes(run) ? null : "none");
    d3.select("#shown").text(state.brushes.size ? count + " of " + runs.length + " runs pass" : "");
}

/* --- tables ------------------------------------------------------------------------------------------------------- */

/* Columns {name, value(row), text(row), number}: a click on a name sorts, first in the order that puts the best first. */
function drawTable(parent, columns, rows, rowClass) {
    const table = d3.select(parent).append("div").attr("class", "scroll").append("table");
    const heads = table.append("thead").append("tr").selectAll("th").data(columns).enter().append("th")
        .attr("class", column => column.number ? "number" : null).attr("scope", "col");
    const places = new Map(rows.map((row, i) => [row, i]));
    const lines = table.append("tbody").selectAll("tr").data(rows).enter().append("tr").attr("class", rowClass);
    lines.selectAll("td").data(row => columns.map(column => [column, row])).enter().append("td")
        .attr("class", pair => (pair[0].number ? "number " : "text ") + (pair[0].style ? pair[0].style(pair[1]) : ""))
        .text(pair => pair[0].text ? pair[0].text(pair[1]) : format(pair[0].value(pair[1])));
    heads.append("button").attr("type", "button").text(column => column.name).on("click", function (column) {
        const head = d3.select(this.parentNode);
        const first = column.downward ? "descending" : "ascending", second = column.downward ? "ascending" : "descending";
        const order = head.attr("aria-sort") === first ? second : first;
        heads.attr("aria-sort", null);
        head.attr("aria-sort", order);
        const compare = order === "ascending" ? d3.ascending : d3.descending;
        lines.sort((a, b) => {
            const x = column.value(a), y = column.value(b), none = (x === null) - (y === null);
            return none || (x === null ? 0 : compare(x, y)) || places.get(a) - places.get(b);
        });
    });
    return lines;
}
const columnOf = parameter => ({ name: parameter.name, value: parameter.value, number: parameter.numeric,
                                 text: run => run.values[parameters.indexOf(parameter)] });

function drawRuns() {
    const ranked = runs.slice().sort((a, b) => (b.run === best) - (a.run === best) || (isDone(b) - isDone(a)) || (isDone(a)
        ? (b.rung - a.rung) || better(a.score, b.score) : 0) || a.run - b.run);
    const columns = [{ name: "run", value: run => run.run, text: run => numberOfRun(run.run), number: true }]
        .concat(parameters.map(columnOf), [
            { name: "state", value: run => run.state, style: run => "state state-" + run.state,
              text: run => run.state + (run.slides_left_out ? ", without some slides" : "") },
            { name: metric, value: run => run.score, number: true, downward: data.metric.maximize },
            { name: "best epoch", value: run => run.best_epoch, number: true },
            { name: "epochs", value: run => run.epochs, number: true, downward: true },
            { name: "steps", value: run => run.steps, number: true, downward: true }]);
    const lines = drawTable("#table", columns, ranked, run => "r" + run.run + (run.run === best ? " is-best" : ""));
    lines.on("mouseenter", run => d3.selectAll(".r" + run.run).classed("hover", true))
        .on("mouseleave", run => d3.selectAll(".r" + run.run).classed("hover", false));
}

function drawConfigurations() {
    if (!keys.some(key => key.repeated)) return;
    const section = d3.select("#configurations");
    section.append("h2").text("Configurations");
    section.append("p").attr("class", "soft").text("Mean and standard deviation over repetitions (" +
        keys.filter(key => key.repeated).map(key => key.name).join(", ") + ")" +
        (data.rungs.length ? ", of those that have come farthest." : "."));
    const columns = parameters.filter(parameter => !parameter.repeated).map(parameter => {
        const column = columnOf(parameter);
        return { name: column.name, number: column.number, value: c => column.value(runs[c.first]),
                 text: c => column.text(runs[c.first]) };
    }).concat([
        { name: "done", value: c => c.done, text: c => c.done + " of " + c.runs, number: true, downward: true },
        { name: "mean " + metric, value: c => c.mean, number: true, downward: data.metric.maximize },
        { name: "deviation", value: c => c.deviation, text: c => formatError(c.deviation), number: true }]);
    if (data.rungs.length) columns.push({ name: "epochs", value: c => c.done ? c.epochs : null, number: true, downward: true });
    const rows = data.configurations.slice().sort((a, b) => (a.mean === null) - (b.mean === null) ||
        b.epochs - a.epochs || (b.done === b.runs) - (a.done === a.runs) || better(a.mean, b.mean));
    drawTable("#configurations", columns, rows, c => best >= 0 && c.first === runs[best].configuration ? "is-best" : null);
}

function drawRungs() {
    if (data.rungs.length === 0) return;
    d3.select("#rungs").append("h2").text("Halving");
    const rows = data.rungs.map((epochs, rung) => ({
        rung: rung, epochs: epochs, reached: runs.filter(run => run.rung > rung || (run.rung === rung && hasEnded(run))),
        halted: runs.filter(run => run.state === "halted" && run.rung === rung),
    }));
    const scores = list => list.map(run => run.score).sort(better);
    drawTable("#rungs", [
        { name: "rung", value: row => row.rung, number: true },
        { name: "trained to epoch", value: row => row.epochs, number: true },
        { name: "runs done", value: row => row.reached.length, number: true },
        { name: "halted here", value: row => row.halted.length, number: true },
        { name: "best of the halted", value: row => row.halted.length ? scores(row.halted)[0] : null, number: true },
        { name: "halted runs", value: row => row.halted.length,
          text: row => row.halted.map(run => numberOfRun(run.run)).join(" ") || "–" }], rows, () => null);
}

function drawFailures() {
    const failed = runs.filter(run => run.state === "failed");
    if (failed.length === 0) return;
    d3.select("#failures").append("h2").text("Failures");
    drawTable("#failures", [
        { name: "run", value: run => run.run, text: run => numberOfRun(run.run), number: true },
        { name: "reason", value: run => run.reason, text: run => run.reason || "its log tells" },
        { name: "parameters", value: run => run.run, text: valuesOf }], failed, run => "r" + run.run);
}

/* --- the best run, and all ---------------------------------------------------------------------------------------- */

const valuesOf = run => keys.map((key, i) => key.name + "=" + run.values[i]).join("  ");

function drawBest() {
    if (best < 0) return;
    const run = runs[best], section = d3.select("#best");
    section.append("h2").attr("class", "best").text("The best run, " + numberOfRun(best));
    section.append("p").attr("class", "values").text(valuesOf(run));
    const columns = section.append("div").attr("class", "columns");
    columns.append("div").append("pre").text(data.best.config);
    const right = columns.append("div").node(), size = { left: 56, right: 90, top: 26, bottom: 44 };
    [["validation.auc"], ["validation.loss", "train.loss"]].forEach(figures => {
        const lines = figures.map((figure, i) => ({ points: pointsOf(run, figure), paint: words[i], name: "is-best" }));
        if (lines.some(line => line.points.length === 0)) return;
        const g = plot(d3.select(right).append("figure").node(), 520, 170, size);
        const scales = drawLines(g, lines, 520, 170, figures.length > 1 ? "loss" : figures[0]);
        lines.forEach((line, i) => {
            const end = line.points[line.points.length - 1];
            if (figures.length > 1) g.append("text").attr("x", scales.x(end[0]) + 6).attr("y", scales.y(end[1]) + 4)
                .style("fill", line.paint).text(figures[i]);
        });
    });
    const pictures = section.append("div").attr("class", "multiples").selectAll("figure").data(data.best.pictures)
        .enter().append("figure");
    pictures.append("figcaption").text(picture => picture.name);
    pictures.append("img").attr("src", picture => picture.data).attr("alt", picture => picture.name);
}

function drawSummary() {
    const count = name => runs.filter(run => run.state === name).length;
    document.title = data.name + " – micromet sweep";
    d3.select("#name").text(data.name);
    const summary = d3.select("#summary");
    summary.append("p").attr("class", "soft").text(data.folder);
    summary.append("p").text(runs.length + " runs: " + states.map(name => count(name) + " " + name).join(", ") + ".");
    const goal = (data.metric.maximize ? "Largest " : "Smallest ") + metric;
    if (best < 0) return summary.append("p").text(goal + ": none yet.");
    const run = runs[best], all = data.configurations.find(c => c.first === run.configuration), line = summary.append("p");
    const mean = all.runs > 1 ? format(all.mean) + " ± " + formatError(all.deviation) + " over " + all.done + " repetitions, " : "";
    line.append("span").text(goal + ": ");
    line.append("b").attr("class", "best").text(mean + format(run.score) + " of run " + numberOfRun(best));
    summary.append("p").attr("class", "values").text(valuesOf(run));
}

function drawPlots() {
    drawLegend();
    drawCurves();
    drawParameters();
    drawParallel();
    filter();
}

function offer(id, names, key) {
    d3.select(id).selectAll("option").data(names).enter().append("option").text(name => name).attr("value", name => name);
    d3.select(id).property("value", state[key]).on("change", function () {
        state[key] = this.value;
        state.brushes.clear();
        drawPlots();
    });
}

drawSummary();
offer("#figure", Array.from(new Set([metric, "validation.auc", "validation.loss", "train.loss"])), "figure");
offer("#colour", ["state", metric].concat(varied.map(parameter => parameter.name)), "colour");
drawRuns();
drawPlots();
drawConfigurations();
drawRungs();
drawFailures();
drawBest();
d3.select("#program").text("Written by " + data.program + "; results.csv beside this page has the figures of the table.");
})();
